"""The interfaces. Every part of the package is a value of one of these types.

A component is a NamedTuple of pure functions, a state a NamedTuple of arrays. Keys are
`jax.random.key` values and always the last positional argument. Data travel as arguments,
never in closures.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
import optax
from jax.stages import Compiled
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Scalar

Params: TypeAlias = PyTree[Float[Array | np.ndarray | jax.ShapeDtypeStruct, "..."]]
"""The weights of a classifier, or their shapes."""

Theta: TypeAlias = Params
"""The weights of a learned optimizer, or their shapes."""

Layout: TypeAlias = Any
"""A pytree of the structure of the classifier's params whose leaves are `TensorRole`s."""

Data: TypeAlias = Any
"""A pytree of arrays: what a task's losses draw from, which alone knows its fields by name."""

Image: TypeAlias = Float[Array, "height width channels"]
"""One image, float in [0, 1] (outside it only after an unclipped corruption)."""

Severity: TypeAlias = int | float | Int[Array, ""] | Float[Array, ""]
"""How strong a named corruption is, 1 (weakest) to 5."""

Constant: TypeAlias = float | Float[Array, ""] | Int[Array, ""]
"""A constant of a corruption, such as a standard deviation: a Python number, or traced."""

ImageTransform: TypeAlias = Callable[[Image, PRNGKeyArray], Image]
"""`(image, key) -> image`: a corruption of one fixed strength, or an augmentation."""

Perturb: TypeAlias = Callable[[Params, Callable[[Params], Params], PRNGKeyArray], Params]
"""`(params, grads_fn, key) -> params`: weights moved to where the loss is to be taken."""

Optimizer: TypeAlias = optax.GradientTransformation
"""What trains a classifier. Hand-designed and learned optimizers are both one."""


class Batch(NamedTuple):
    """Labelled images, of a split or of one step.

    Attributes:
        images: `[batch height width channels]`, uint8 (0 to 255) at rest, float in [0, 1] in use.
        labels: `[batch]`, int32, from 0.
    """

    images: Any
    labels: Any


class Model(NamedTuple):
    """A classifier without mutable state.

    Norms over the batch have their population statistics among the params, as leaves that training
    does not touch: `apply_train` normalizes by the batch itself, and `calibrate` measures them
    before the classifier is judged.

    Attributes:
        init: `key -> params`.
        apply: `(params, images [batch height width channels]) -> logits [batch classes]`, of every
            image alone.
        apply_dropout: `(params, images, rate, key) -> logits`, with each hidden unit left out by a
            chance of `rate`; None where a classifier has no such thing.
        apply_train: Like `apply`, in training; None where it is the same.
        calibrate: `(params, images) -> params`, with the statistics of these training images; None
            where there are none.
        image_shape: (height, width, channels) of one image, from which roles of tensors are read;
            None where layouts are given by hand.
    """

    init: Callable[[PRNGKeyArray], Params]
    apply: Callable[[Params, Float[Array, "batch height width channels"]], Any]
    apply_dropout: Callable[[Params, Any, Any, PRNGKeyArray], Any] | None = None
    apply_train: Callable[[Params, Any], Any] | None = None
    calibrate: Callable[[Params, Any], Params] | None = None
    image_shape: tuple[int, int, int] | None = None


class Regularization(NamedTuple):
    """What a recipe changes in the training loss; what is None changes and costs nothing.

    Attributes:
        label_smoothing: Share of each label that is spread evenly over all classes, in [0, 1].
        dropout: Chance that a hidden unit is left out, in [0, 1).
    """

    label_smoothing: float | Scalar | None = None
    dropout: float | Scalar | None = None


class Task(NamedTuple):
    """An inner problem: a classifier, its data and what it is judged on.

    Attributes:
        init: `key -> params`.
        loss: `(params, data, key) -> scalar`, the training loss on a fresh batch.
        meta_loss: `(params, data, key) -> scalar`, what the outer loop minimizes; for
            example the loss on corrupted validation images.
        refresh: `(data, key) -> data`, draws what `meta_loss` shares between particles and
            steps, for example a pool of freshly corrupted images; called once an outer step.
        regularized_loss: `(params, data, regularization, key) -> scalar`, `loss` on the same batch
            under a recipe's `Regularization`; None where a task has no such thing.
        finish: `(params, data, key) -> params`, what is done to final weights before they are
            judged, for example measuring the statistics of norms; None where that is nothing.
        classification: The `Classification` that this is; None of other tasks.
    """

    init: Callable[[PRNGKeyArray], Params]
    loss: Callable[[Params, Any, PRNGKeyArray], Scalar]
    meta_loss: Callable[[Params, Any, PRNGKeyArray], Scalar]
    refresh: Callable[[Any, PRNGKeyArray], Any]
    regularized_loss: Callable[[Params, Any, Regularization, PRNGKeyArray], Scalar] | None = None
    finish: Callable[[Params, Any, PRNGKeyArray], Params] | None = None
    classification: Any = None


class TensorRole(NamedTuple):
    """Where a tensor of the classifier sits, for rules that care.

    Attributes:
        kind: One of `NEAREST_KIND`.
        spatial_shape: (14, 14, 1) of a first dense layer, (3, 3, 16) of a filter (height, width,
            input channels), () where there is none.
        depth_fraction: 0 at the input, 1 at the readout.
        inputs: Axes over which the tensor is summed when it is applied, for a filter height, width
            and input channels in that order. Where there are neither inputs nor outputs, the last
            axis is of the outputs and all others are of the inputs.
        outputs: Axes of the units that it yields. An axis that is of neither stacks matrices.
        unfolded: What the tensor is reshaped to before its axes are counted, where one of them
            holds several (a dense layer on images that were flattened channels first); else ().
    """

    kind: str
    spatial_shape: tuple[int, ...]
    depth_fraction: float
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    unfolded: tuple[int, ...] = ()


class LearnedOptimizer(NamedTuple):
    """A family of optimizers indexed by `theta`.

    Attributes:
        init: `key -> theta`.
        optimizer: `(theta, num_steps, layout) -> Optimizer`, for an inner run of `num_steps` on
            params whose tree of `TensorRole` is `layout`.
        answer: `(params, optimizer_state) -> params`, the weights that are judged, where others
            than these are trained; the params themselves for most.
    """

    init: Callable[[PRNGKeyArray], Theta]
    optimizer: Callable[[Theta, Any, Layout], Optimizer]
    answer: Callable[[Params, Any], Params] = lambda params, _state: params


class Recipe(NamedTuple):
    """How a classifier is trained: the optimizer, and the three things that optax cannot say.

    Attributes:
        optimizer: An optax transformation, learned or hand-designed.
        perturb: `(params, grads_fn, key) -> params`, where the loss is taken (SAM, ASAM, weight
            noise); the identity for most. The gradient is that of the loss there with respect to
            the params here, what `grads_fn` gave being constant.
        answer: `(params, optimizer_state) -> params`, the weights that are judged (iterate
            averages); the params themselves for most.
        regularization: Of the training loss; None for most.
    """

    optimizer: Optimizer
    perturb: Perturb = lambda params, _grads_fn, _key: params
    answer: Callable[[Params, Any], Params] = lambda params, _state: params
    regularization: Regularization | None = None


class MetaEstimate(NamedTuple):
    """What one outer step learned about `theta`.

    Attributes:
        gradient: Pytree like `theta`, an estimate of the gradient of the meta-loss.
        meta_loss: Scalar, the mean meta-loss of the particles that did not diverge.
        signal_to_noise: Scalar, norm of the mean gradient over the standard error of that mean
            across pairs (root of the summed squares); about 1 when there is no signal.
        diverged_share: Scalar in [0, 1], the share of particles whose loss was not finite.
    """

    gradient: Theta
    meta_loss: Scalar
    signal_to_noise: Scalar
    diverged_share: Scalar


OnProgram: TypeAlias = Callable[[int, int], None]
"""`(done, total)`, called as programs are compiled."""


class GradientEstimator(NamedTuple):
    """A way to estimate the gradient of the meta-loss with respect to `theta`.

    Attributes:
        init: `(theta, data, key) -> state`, starts the inner runs.
        estimate: `(theta, state, data, key) -> (MetaEstimate, state)`.
        num_inner_steps: Inner steps, over all particles, that one `estimate` takes.
        compile: `(theta, state, data, key, *, on_program)` -> the compiled programs that `estimate`
            calls, where it is several and so no part of another; `on_program(done, total)` is
            called as each is there. None where `estimate` is traced as it is.
    """

    init: Callable[[Theta, Any, PRNGKeyArray], Any]
    estimate: Callable[[Theta, Any, Any, PRNGKeyArray], tuple[MetaEstimate, Any]]
    num_inner_steps: int
    compile: Callable[..., list[Compiled]] | None = None

"""`universal`: the rule `structured` that also knows how large a classifier and how long a run is.

Rates that suit one classifier do not suit one of four times its width. What each change of size
asks for is known for some optimizers, and differs between Adam's direction and the orthogonalized
one; so both are scaled by what a tensor is before they are mixed, and decays are scaled apart from
them. Each scale is a power of a size relative to a base classifier:

    (fan in / base)^a · (fan out / base)^b · (steps / base)^c · (layers / base)^d

The exponents are part of theta, by kind of tensor, for either direction and for the decays. They
start at theory where it is settled, and are learned over tasks of many sizes. The size of a batch
is no part of it, since an optimizer never sees one.

Sources of the widths' exponents: Yang, Hu, Babuschkin, et al.: Tensor programs V, arXiv 2203.03466,
for Adam; Bernstein, Newhouse: Old optimizer, new norm, arXiv 2409.20325, for the orthogonalized
direction, whose spectral norm should be the root of fan out over fan in.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.optimizers.features import check_params
from noiseproof.optimizers.layout import fit_layout
from noiseproof.optimizers.matrices import fans, on_matrices
from noiseproof.optimizers.orthogonal import orthogonalized
from noiseproof.optimizers.scaled_adam import adam_direction, start_adam
from noiseproof.optimizers.structured import (
    KINDS,
    NUM_BANDS,
    StructuredState,
    filter_pull,
    rates_at,
)
from noiseproof.types import (
    NEAREST_KIND,
    Layout,
    LearnedOptimizer,
    Optimizer,
    Params,
    TensorRole,
    Theta,
)

EXPONENT_SCALE = 3.0
"""One unit of theta moves an exponent by three: sizes of meta-training differ from the base by
factors of a few, whose logarithms are a third of what the rates' are moved by."""

MATRICES = ("first", "hidden", "readout")
"""Kinds that have an orthogonalized direction."""


class Base(NamedTuple):
    """A tensor's fans at which all scales are one, about those of the classifiers that the rates
    of `structured` were meta-trained on. Attributes: `fan_in`, `fan_out`."""

    fan_in: float
    fan_out: float


BASES = {
    "first": Base(27.0, 8.0),
    "hidden": Base(100.0, 24.0),
    "readout": Base(128.0, 10.0),
    "bias": Base(1.0, 16.0),
    "norm": Base(1.0, 16.0),
}
BASE_STEPS = 1000.0
BASE_LAYERS = 4.0

THEORY = {
    "adam": ((0.0, 0.0), (-1.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    "orthogonal": ((0.0, 0.0), (-1.0, 0.5), (-1.0, 0.5)),
}
"""Exponents of fan in and fan out, by kind. A first layer's fan in is the image's and does not grow
with width. A direction of fixed root mean square has a spectral norm that grows as the root of the
larger fan, which with the target makes the orthogonalized one's; with both fans times r it is times
r^-1/2. All other exponents start at none: of decays, since a step's decay should not depend on
width, and of run length and depth, for which what holds of losses did not hold of robustness (with
theory's, -1/2 for steps and -1 for decays, runs of five times the length lost .008)."""


class Sizes(NamedTuple):
    """Logarithms of sizes relative to the base.

    Attributes:
        fans: Fan in and fan out of every tensor.
        others: Steps of the run and layers of the classifier.
    """

    fans: Float[np.ndarray, "tensors 2"]
    others: Float[Array, " 2"]


class Scales(NamedTuple):
    """What directions, decay and pulls on filters are multiplied by, tensor by tensor."""

    adam: Float[Array, " tensors"]
    orthogonal: Float[Array, " tensors"]
    decay: Float[Array, " tensors"]
    pull: Float[Array, " tensors"]


def universal(*, num_knots: int = 4) -> LearnedOptimizer:
    """`structured`, with scales by a tensor's fans, the run's length and the classifier's depth.

    Args:
        num_knots: Points of the run between which the logarithm of each rate is linear.

    Raises:
        ValueError: Fewer than two knots.
    """
    if num_knots < 2:
        raise ValueError(f"num_knots must be at least 2, got {num_knots}.")

    def init(_key: PRNGKeyArray) -> Theta:
        kinds = (len(KINDS), num_knots)
        return {
            "step": jnp.zeros(kinds),
            "orthogonal": jnp.zeros(kinds),
            "decay": jnp.zeros(kinds),
            "bands": jnp.zeros((2, NUM_BANDS, num_knots)),
            "mean": jnp.zeros((2, num_knots)),
            **no_exponents(),
        }

    def optimizer(theta: Theta, num_steps: int | Int[Array, ""], layout: Layout) -> Optimizer:
        def start(params: Params) -> StructuredState:
            fit_layout(layout, params)
            return StructuredState(jnp.zeros((), jnp.int32), start_adam(params))

        def update(
            updates: Params, state: Any, params: Params | None = None
        ) -> tuple[Params, StructuredState]:
            check_params(params)
            rates = rates_at(theta, jnp.minimum(state.step / num_steps, 1.0))
            directions, adam_state = adam_direction(updates, state.adam)
            places = fit_layout(layout, params)
            leaves, structure = jax.tree.flatten(params)
            scales = scales_of(theta, places, [leaf.shape for leaf in leaves], num_steps)
            changes = [
                change(rates, jax.tree.map(lambda one, at=at: one[at], scales), *parts)
                for at, parts in enumerate(
                    zip(
                        places,
                        leaves,
                        jax.tree.leaves(directions),
                        jax.tree.leaves(adam_state.mu),
                        strict=True,
                    )
                )
            ]
            return structure.unflatten(changes), StructuredState(state.step + 1, adam_state)

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer)


def no_exponents() -> Theta:
    """Theta's part that `structured` lacks, at theory."""
    return {
        "adam_fans": jnp.zeros((len(KINDS), 2)),
        "orthogonal_fans": jnp.zeros((len(MATRICES), 2)),
        "step_sizes": jnp.zeros((len(KINDS), 2)),
        "decay_fans": jnp.zeros((len(KINDS), 2)),
        "decay_sizes": jnp.zeros((len(KINDS), 2)),
        "pull_sizes": jnp.zeros((2, 2)),
    }


def from_structured(theta: Theta) -> Theta:
    """The theta of `universal` that has a theta of `structured` for its rates, exponents at theory.

    On a classifier of the base's sizes both make the same steps.
    """
    return {**theta, **no_exponents()}


def scales_of(
    theta: Theta,
    places: Sequence[TensorRole],
    shapes: Sequence[tuple[int, ...]],
    num_steps: int | Int[Array, ""],
) -> Scales:
    """The scales of all tensors at once: each the product of sizes to the power of exponents."""
    kinds = [known_kind(role, shape) for role, shape in zip(places, shapes, strict=True)]
    sizes = sizes_of(kinds, places, shapes, num_steps)
    rows = np.array([KINDS.index(kind) for kind in kinds])
    matrix_rows = np.minimum(rows, len(MATRICES) - 1)
    pulled = np.array([int(kind != "first") for kind in kinds])

    def of_fans(
        name: str, rows: Int[np.ndarray, " tensors"], theory: str | None = None
    ) -> Float[Array, " tensors"]:
        exponents = EXPONENT_SCALE * theta[name][rows]
        if theory is not None:
            exponents += jnp.array(THEORY[theory])[rows]
        return (exponents * sizes.fans).sum(axis=1)

    def of_others(name: str, rows: Int[np.ndarray, " tensors"]) -> Float[Array, " tensors"]:
        return EXPONENT_SCALE * theta[name][rows] @ sizes.others

    step, decay = of_others("step_sizes", rows), of_fans("decay_fans", rows)
    return Scales(
        adam=jnp.exp(step + of_fans("adam_fans", rows, "adam")),
        orthogonal=jnp.exp(step + of_fans("orthogonal_fans", matrix_rows, "orthogonal")),
        decay=jnp.exp(decay + of_others("decay_sizes", rows)),
        pull=jnp.exp(decay + of_others("pull_sizes", pulled)),
    )


def sizes_of(
    kinds: Sequence[str],
    places: Sequence[TensorRole],
    shapes: Sequence[tuple[int, ...]],
    num_steps: int | Int[Array, ""],
) -> Sizes:
    """The sizes of all tensors; the fan in of a filter is the number of its points, and a layer is
    what has a matrix."""
    own = [fans(*pair) for pair in zip(places, shapes, strict=True)]
    layers = max(sum(kind in MATRICES for kind in kinds), 1)
    return Sizes(
        np.log(np.array(own) / np.array([BASES[kind] for kind in kinds])),
        jnp.log(jnp.array([num_steps / BASE_STEPS, layers / BASE_LAYERS])),
    )


def known_kind(role: TensorRole, shape: tuple[int, ...]) -> str:
    """The kind whose rates a tensor gets: the nearest to its own, but that of a matrix only for a
    tensor of two axes or more."""
    nearest = NEAREST_KIND[role.kind]
    if nearest in MATRICES and len(shape) < 2:
        return "bias"
    return nearest if nearest in KINDS else "norm"


def change(
    rates: dict[str, Float[Array, "..."]],
    scales: Scales,
    role: TensorRole,
    param: Float[Array, "..."],
    direction: Float[Array, "..."],
    momentum: Float[Array, "..."],
) -> Float[Array, "..."]:
    """What is added to a tensor: minus the step times the scaled direction and all scaled pulls.

    Args:
        rates: From `rates_at`.
        scales: The tensor's own.
        role: Where the tensor sits; statistics are not trained.
        param: The tensor.
        direction: Adam's.
        momentum: Adam's mean gradient.
    """
    if role.kind == "statistic":
        return jnp.zeros_like(param)
    kind = known_kind(role, param.shape)
    row = KINDS.index(kind)
    direction = scales.adam * direction
    if kind in MATRICES:
        share = rates["orthogonal"][row]
        other = scales.orthogonal * on_matrices(orthogonalized, role, momentum)
        direction = (1.0 - share) * direction + share * other
    pulled = direction + scales.decay * rates["decay"][row] * param
    if len(role.spatial_shape) == 3:
        layer = int(kind != "first")
        pulls = scales.pull * rates["bands"][layer], scales.pull * rates["mean"][layer]
        pulled += filter_pull(*pulls, role, param)
    return (-rates["step"][row] * pulled).astype(param.dtype)

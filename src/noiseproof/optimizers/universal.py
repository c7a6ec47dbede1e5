"""`universal`: the rule `structured` that also knows how large a classifier and how long a run is.

Rates that suit one classifier do not suit one of four times its width. What each change of size
asks for is known for some optimizers, and differs between Adam's direction and the orthogonalized
one; so both are scaled by what a tensor is before they are mixed, and decays are scaled apart from
them. Each scale is a power of a size relative to a base classifier:

    (fan in / base)^a · (fan out / base)^b · (steps / base)^c · (layers / base)^d

The exponents are part of theta, by kind of tensor, for either direction and for the decays. They
start at theory where it is settled, and are learned over tasks of many sizes. An optimizer never
sees a batch or how many images there are; where it is told how many steps an epoch has, each scale
may have one more factor, ((1 + epochs) / base)^e. So runs within an epoch are nearly alike.

Sources of the widths' exponents: Yang, Hu, Babuschkin, et al.: Tensor programs V, arXiv 2203.03466,
for Adam; Bernstein, Newhouse: Old optimizer, new norm, arXiv 2409.20325, for the orthogonalized
direction, whose spectral norm should be the root of fan out over fan in.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from noiseproof.kinds import KINDS, MATRICES
from noiseproof.optimizers.augmented import augmented
from noiseproof.optimizers.matrices import fans
from noiseproof.optimizers.structured import Scales, known_kind, with_scales
from noiseproof.published import check_steps_per_epoch
from noiseproof.types import LearnedOptimizer, TensorRole, Theta

EXPONENT_SCALE = 3.0
"""One unit of theta moves an exponent by three: sizes of meta-training differ from the base by
factors of a few, whose logarithms are a third of what the rates' are moved by."""


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
BASE_EPOCHS = 2.0
"""About those of the runs that `structured` was meta-trained on; of a run that does not say its own
the factor is one, too."""

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
        epochs: One more than the epochs of the run.
    """

    fans: Float[np.ndarray, "tensors 2"]
    others: Float[Array, " 2"]
    epochs: Float[Array, " 1"]


def universal(
    *,
    num_knots: int = 4,
    augments: bool = False,
    counts_epochs: bool = False,
    steps_per_epoch: float | Float[Array, ""] | None = None,
) -> LearnedOptimizer:
    """`structured`, with scales by a tensor's fans, the run's length and the classifier's depth.

    Args:
        num_knots: Points of the run between which the logarithm of each rate is linear.
        augments: Whether theta also changes the first layer while it is trained, see `augmented`.
        counts_epochs: Whether rates depend on how often a run goes through its images, too.
        steps_per_epoch: Steps in which a run sees every training image once, for theta that counts
            epochs; of another it changes nothing. None where that is not known: then rates are
            those of two epochs.

    Raises:
        ValueError: Fewer than two knots, or steps that are not positive and finite.
    """
    # Within optax.inject_hyperparams it may be traced, and has no value to check.
    if not isinstance(steps_per_epoch, Tracer):
        check_steps_per_epoch(steps_per_epoch)
    rule = with_scales(
        partial(scales_of, steps_per_epoch=steps_per_epoch),
        partial(no_exponents, counts_epochs=counts_epochs),
        num_knots=num_knots,
    )
    return augmented(rule, num_knots=num_knots) if augments else rule


def no_exponents(*, counts_epochs: bool = False) -> Theta:
    """Theta's part that `structured` lacks, at theory."""
    of_epochs = {
        "step_epochs": jnp.zeros((len(KINDS), 1)),
        "decay_epochs": jnp.zeros((len(KINDS), 1)),
        "pull_epochs": jnp.zeros((2, 1)),
    }
    return {
        "adam_fans": jnp.zeros((len(KINDS), 2)),
        "orthogonal_fans": jnp.zeros((len(MATRICES), 2)),
        "step_sizes": jnp.zeros((len(KINDS), 2)),
        "decay_fans": jnp.zeros((len(KINDS), 2)),
        "decay_sizes": jnp.zeros((len(KINDS), 2)),
        "pull_sizes": jnp.zeros((2, 2)),
        **(of_epochs if counts_epochs else {}),
    }


def scales_of(
    theta: Theta,
    places: Sequence[TensorRole],
    shapes: Sequence[tuple[int, ...]],
    num_steps: int | Int[Array, ""],
    num_masked: int = 0,
    *,
    steps_per_epoch: float | Float[Array, ""] | None = None,
) -> list[Scales]:
    """The scales of all tensors: each the product of sizes to the power of exponents; layers that
    are masked out are layers of the classifier, too."""
    kinds = [known_kind(role, shape) for role, shape in zip(places, shapes, strict=True)]
    sizes = sizes_of(kinds, places, shapes, num_steps, num_masked, steps_per_epoch)
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

    def of_run(name: str, rows: Int[np.ndarray, " tensors"]) -> Float[Array, " tensors"]:
        power = theta[f"{name}_sizes"][rows] @ sizes.others
        if f"{name}_epochs" in theta:
            power += theta[f"{name}_epochs"][rows] @ sizes.epochs
        return EXPONENT_SCALE * power

    step, decay = of_run("step", rows), of_fans("decay_fans", rows)
    scales = (
        jnp.exp(step + of_fans("adam_fans", rows, "adam")),
        jnp.exp(step + of_fans("orthogonal_fans", matrix_rows, "orthogonal")),
        jnp.exp(decay + of_run("decay", rows)),
        jnp.exp(decay + of_run("pull", pulled)),
    )
    return [Scales(*row) for row in zip(*scales, strict=True)]


def sizes_of(
    kinds: Sequence[str],
    places: Sequence[TensorRole],
    shapes: Sequence[tuple[int, ...]],
    num_steps: int | Int[Array, ""],
    num_masked: int,
    steps_per_epoch: float | Float[Array, ""] | None,
) -> Sizes:
    """The sizes of all tensors; the fan in of a filter is the number of its points, and a layer is
    what has a matrix."""
    epochs = BASE_EPOCHS if steps_per_epoch is None else num_steps / steps_per_epoch
    own = [fans(*pair) for pair in zip(places, shapes, strict=True)]
    layers = max(sum(kind in MATRICES for kind in kinds) + num_masked, 1)
    return Sizes(
        np.log(np.array(own) / np.array([BASES[kind] for kind in kinds])),
        jnp.log(jnp.array([num_steps / BASE_STEPS, layers / BASE_LAYERS])),
        jnp.log(jnp.array([(1.0 + epochs) / (1.0 + BASE_EPOCHS)])),
    )

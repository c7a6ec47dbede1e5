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
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from noiseproof.kinds import KINDS, MATRICES
from noiseproof.optimizers.augmented import augmented
from noiseproof.optimizers.matrices import fans
from noiseproof.optimizers.structured import Scales, known_kind, with_scales
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


def universal(*, num_knots: int = 4, augments: bool = False) -> LearnedOptimizer:
    """`structured`, with scales by a tensor's fans, the run's length and the classifier's depth.

    Args:
        num_knots: Points of the run between which the logarithm of each rate is linear.
        augments: Whether theta also changes the first layer while it is trained, see `augmented`.

    Raises:
        ValueError: Fewer than two knots.
    """
    rule = with_scales(scales_of, no_exponents, num_knots=num_knots)
    return augmented(rule, num_knots=num_knots) if augments else rule


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
) -> list[Scales]:
    """The scales of all tensors: each the product of sizes to the power of exponents."""
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
    scales = (
        jnp.exp(step + of_fans("adam_fans", rows, "adam")),
        jnp.exp(step + of_fans("orthogonal_fans", matrix_rows, "orthogonal")),
        jnp.exp(decay + of_others("decay_sizes", rows)),
        jnp.exp(decay + of_others("pull_sizes", pulled)),
    )
    return [Scales(*row) for row in zip(*scales, strict=True)]


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

"""`structured`: steps and decays that know where a weight sits, their sizes learned over the run.

What makes a classifier break under corruptions sits in certain places: in differences between
neighboring points of a filter, in its mean over the image, in readouts that grow. The rule pulls
each of these towards zero at a rate of its own, for every kind of tensor and every part of the
run. Its direction lies between Adam's, which knows entries only, and the orthogonalized momentum,
which knows the tensor as a matrix (see `orthogonal`); where between, and how long a step is, is
learned for every kind, too. Meta-training moves a few dozen rates instead of a network.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.kinds import KINDS, MATRICES, NEAREST_KIND, nearest_kind
from noiseproof.layouts.layout import fit_layout
from noiseproof.layouts.layout import roles as all_roles
from noiseproof.optimizers.augmented import augmented
from noiseproof.optimizers.features import check_params
from noiseproof.optimizers.filters import neighborhood_mean
from noiseproof.optimizers.matrices import on_filters, on_matrices
from noiseproof.optimizers.orthogonal import orthogonalized
from noiseproof.optimizers.scaled_adam import ScaledAdamState, adam_direction, start_adam
from noiseproof.optimizers.schedules import LOG_SCALE, SMALLEST, between, cosine
from noiseproof.types import (
    Layout,
    LearnedOptimizer,
    Optimizer,
    Params,
    TensorRole,
    Theta,
)

NUM_BANDS = 3
"""Parts of a filter beside its mean: what 1 and 3 passes of a 3×3 mean take away, and the rest."""

INITIAL_RATES = {"step": 3e-3, "decay": 1e-1, "bands": 1e-1, "mean": 1.0}
"""Step size and decays before meta-training; the decays are relative to the step, as in AdamW. Of a
decay too small to be felt the meta-gradient says nothing."""


class Scales(NamedTuple):
    """What a tensor's directions, its decay and the pulls on its filters are multiplied by."""

    adam: float | Float[Array, ""] = 1.0
    orthogonal: float | Float[Array, ""] = 1.0
    decay: float | Float[Array, ""] = 1.0
    pull: float | Float[Array, ""] = 1.0


ScalesOf: TypeAlias = Callable[
    [Theta, Sequence[TensorRole], Sequence[tuple[int, ...]], int | Int[Array, ""], int],
    list[Scales],
]
"""`(theta, roles, shapes, num_steps, num_masked) -> the scales of every tensor`; so many matrices
of the layout are masked out."""


class StructuredState(NamedTuple):
    """Attributes: `step`, steps taken; `adam`, averages of the gradient and of its square."""

    step: Int[Array, ""]
    adam: ScaledAdamState


def structured(*, num_knots: int = 4, augments: bool = False) -> LearnedOptimizer:
    """Steps and decays by kind of tensor, by band of a filter and by part of the run.

    Args:
        num_knots: Points of the run between which the logarithm of each rate is linear.
        augments: Whether theta also changes the first layer while it is trained, see `augmented`.

    Raises:
        ValueError: Fewer than two knots.
    """
    rule = with_scales(lambda _theta, roles, *_: [Scales()] * len(roles), num_knots=num_knots)
    return augmented(rule, num_knots=num_knots) if augments else rule


def with_scales(
    scales_of: ScalesOf, more: Callable[[], Theta] = dict, *, num_knots: int
) -> LearnedOptimizer:
    """The rule, with scales by what a tensor is.

    Args:
        scales_of: The scales of all tensors.
        more: `() -> theta's part` that the scales need, at its start.
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
            **more(),
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
            leaves, structure = jax.tree.flatten(params)
            roles = fit_layout(layout, params)
            masked = num_matrices(all_roles(layout)) - num_matrices(roles)
            shapes = [leaf.shape for leaf in leaves]
            changes = [
                change(rates, *parts)
                for parts in zip(
                    scales_of(theta, roles, shapes, num_steps, masked),
                    roles,
                    leaves,
                    jax.tree.leaves(directions),
                    jax.tree.leaves(adam_state.mu),
                    strict=True,
                )
            ]
            return structure.unflatten(changes), StructuredState(state.step + 1, adam_state)

        return optax.GradientTransformation(start, update)

    return LearnedOptimizer(init, optimizer)


def rates_at(theta: Theta, fraction: Float[Array, ""]) -> dict[str, Float[Array, "..."]]:
    """Every rate at a part of the run: a cosine for steps, decays constant, times what is learned;
    and the share of the orthogonalized momentum in the direction, at first a half.

    Args:
        theta: Logarithms, of the share log-odds, in units of `LOG_SCALE`; knots on the last axis.
        fraction: Of the run, in [0, 1].
    """
    shrinkage = jnp.maximum(cosine(fraction), SMALLEST)
    starts = INITIAL_RATES | {"step": INITIAL_RATES["step"] * shrinkage}
    rates = {
        name: start * jnp.exp(LOG_SCALE * between(theta[name], fraction))
        for name, start in starts.items()
    }
    share = jax.nn.sigmoid(LOG_SCALE * between(theta["orthogonal"], fraction))
    return rates | {"orthogonal": share}


def num_matrices(roles: Iterable[TensorRole]) -> int:
    """How many tensors are called matrices."""
    return sum(NEAREST_KIND.get(role.kind) in MATRICES for role in roles)


def known_kind(role: TensorRole, shape: tuple[int, ...]) -> str:
    """The kind whose rates a tensor gets: the nearest to its own, but that of a matrix only for a
    tensor of two axes or more."""
    nearest = nearest_kind(role.kind)
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
    """What is added to a tensor: minus the step times the direction and all pulls, each scaled.

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
        # The filters of a first layer look at pixels, those of later ones at features.
        layer = int(kind != "first")
        pulls = scales.pull * rates["bands"][layer], scales.pull * rates["mean"][layer]
        pulled += filter_pull(*pulls, role, param)
    return (-rates["step"][row] * pulled).astype(param.dtype)


def filter_pull(
    band_rates: Float[Array, " bands"],
    mean_rate: Float[Array, ""],
    role: TensorRole,
    weight: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Each band of the filters and their mean, times its rate."""

    def pulled(filters: Float[Array, "height width channels units"]) -> Float[Array, "..."]:
        smooth = neighborhood_mean(filters)
        smoother = neighborhood_mean(neighborhood_mean(smooth))
        mean = filters.mean(axis=(0, 1, 2), keepdims=True)
        bands = (filters - smooth, smooth - smoother, smoother - mean)
        pull = sum(rate * band for rate, band in zip(band_rates, bands, strict=True))
        return pull + mean_rate * mean

    return on_filters(pulled, role, weight)

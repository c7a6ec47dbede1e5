"""Adam with four decays, each for what one part of a classifier should be by default.

Beside the weights themselves, what decays is what makes a first layer respond to the wrong things:
the difference of its filters from their own 3×3 spatial mean, which answers to noise of single
pixels, and the mean of each filter over the image, which answers to shifts of brightness. Each
decay is times the learning rate, as in AdamW (Loshchilov, Hutter, arXiv 1711.05101). A rule of
this package, found by looking at what the corrupted outer loss asks for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Scalar

from noiseproof.kinds import nearest_kind
from noiseproof.layouts.layout import fit_layout
from noiseproof.optimizers.filters import neighborhood_mean
from noiseproof.optimizers.matrices import on_filters
from noiseproof.types import Layout, Optimizer, Params, TensorRole


class Decays(NamedTuple):
    """Strengths of decay, each not negative, per unit of learning rate.

    Attributes:
        weights: Of all weights towards zero.
        roughness: Of the first layer's filters towards their own 3×3 spatial mean.
        means: Of the mean of each filter of the first layer, over the image, towards zero.
        biases: Of biases towards zero.
    """

    weights: float | Scalar = 0.0
    roughness: float | Scalar = 0.0
    means: float | Scalar = 0.0
    biases: float | Scalar = 0.0


def decayed_adam(
    learning_rate: optax.ScalarOrSchedule, decays: Decays, layout: Layout
) -> Optimizer:
    """Adam with decays.

    Args:
        learning_rate: Size of a step, or a schedule.
        decays: Their strengths; times the learning rate each should stay below 1.
        layout: The roles of the classifier's tensors.
    """
    return optax.chain(
        optax.scale_by_adam(),
        add_decays(decays, layout),
        optax.scale_by_learning_rate(learning_rate),
    )


def add_decays(decays: Decays, layout: Layout) -> Optimizer:
    """Adds the pull of each decay to an update, before it is scaled by the learning rate.

    Raises:
        ValueError: On `update`, without params or if the layout is not theirs.
    """

    @optax.stateless
    def pulled(updates: Params, params: Params | None) -> Params:
        if params is None:
            raise ValueError("add_decays needs params: call update(grads, state, params).")
        leaves, structure = jax.tree.flatten(params)
        pulls = [
            pull(*pair, decays) for pair in zip(fit_layout(layout, params), leaves, strict=True)
        ]
        return optax.tree.add(updates, jax.tree.unflatten(structure, pulls))

    return pulled


def pull(role: TensorRole, weight: Float[Array, "..."], decays: Decays) -> Float[Array, "..."]:
    """What the decays subtract from a tensor, per unit of learning rate; nothing from a norm."""
    kind = nearest_kind(role.kind)
    if kind in ("norm", "statistic"):
        return jnp.zeros_like(weight)
    if kind == "bias":
        return decays.biases * weight
    plain = decays.weights * weight
    return plain + structured_pull(role, weight, decays) if role.kind == "first" else plain


def structured_pull(
    role: TensorRole, weight: Float[Array, "..."], decays: Decays
) -> Float[Array, "..."]:
    """The decays of the first layer's filters towards their 3×3 mean and of their mean.

    Raises:
        ValueError: The role gives no height, width and channels.
    """
    if len(role.spatial_shape) != 3:
        raise ValueError(
            "The layout must give the first weight its (height, width, channels), "
            f"got {role.spatial_shape}."
        )

    def pulled(filters: Float[Array, "height width channels units"]) -> Float[Array, "..."]:
        rough = filters - neighborhood_mean(filters)
        mean = filters.mean(axis=(0, 1, 2), keepdims=True)
        return decays.roughness * rough + decays.means * mean

    return on_filters(pulled, role, weight)

"""What stands between a layer's product and its ReLU: a norm, if there is one, and the bias.

Group normalization: Wu and He, 2018, arXiv 1803.08494; with one group it is layer normalization
(Ba, Kiros and Hinton, 2016, arXiv 1607.06450). Batch normalization: Ioffe and Szegedy, 2015, arXiv
1502.03167. Its population statistics are measured on training images once the weights are final,
and are no averages kept in training. Wu and Johnson (arXiv 2105.07576) find that at least as good;
and here it is what is right for all recipes, since running averages are those of the weights that
were trained, while an averaged iterate is what is judged, and since under sharpness-aware steps
and weight noise they would be those of weights beside. A classifier stays a pure function of its
params, which every estimator differentiates, perturbs and scales as it is. Where running averages
are wanted they are a line in the training loop:

    params = optax.incremental_update(model.calibrate(params, images), params, 0.1)
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Layer: TypeAlias = dict[str, Float[Array, "..."]]

Normalize: TypeAlias = Callable[[Layer, Float[Array, "batch ..."]], Float[Array, "batch ..."]]
"""`(layer, features) -> features`: the norm of a layer, its gain and its bias."""

NUM_GROUPS = {"layer": 1, "group": 4}
"""Groups of features that share a mean and a variance, by the name of the norm."""

NORMS = (None, *NUM_GROUPS, "batch")

NORM_EPSILON = 1e-5
"""Added to the variance; the value of Wu and He's published code."""


def with_norm(layer: Layer, norm: str | None) -> Layer:
    """A layer with what its norm needs: a gain of one, and of a batch the statistics of none."""
    if norm is None:
        return layer
    zeros, ones = jnp.zeros_like(layer["bias"]), jnp.ones_like(layer["bias"])
    return layer | {"gain": ones} | ({"mean": zeros, "variance": ones} if norm == "batch" else {})


def normalize_alone(
    norm: str | None, layer: Layer, features: Float[Array, "batch *space fan_out"]
) -> Float[Array, "batch *space fan_out"]:
    """Every image by itself: by its own statistics, by those in the layer, or not at all."""
    if norm is None:
        return features + layer["bias"].astype(features.dtype)
    if norm == "batch":
        factor = layer["gain"] * jax.lax.rsqrt(layer["variance"] + NORM_EPSILON)
        shift = layer["bias"] - factor * layer["mean"]
        return (features * factor + shift).astype(features.dtype)
    normalized = standardize(features.astype(jnp.float32), NUM_GROUPS[norm])
    return (layer["gain"] * normalized + layer["bias"]).astype(features.dtype)


def normalize_by_batch(
    layer: Layer, features: Float[Array, "batch *space fan_out"]
) -> Float[Array, "batch *space fan_out"]:
    """Batch norm in training."""
    return normalize_alone("batch", layer | statistics(features), features)


def standardize(
    features: Float[Array, "batch *space fan_out"], num_groups: int
) -> Float[Array, "batch *space fan_out"]:
    """Zero mean and unit variance over space and each group of features, per example."""
    grouped = features.reshape(features.shape[0], -1, num_groups, features.shape[-1] // num_groups)
    mean = grouped.mean(axis=(1, 3), keepdims=True)
    variance = grouped.var(axis=(1, 3), keepdims=True)
    return ((grouped - mean) * jax.lax.rsqrt(variance + NORM_EPSILON)).reshape(features.shape)


def statistics(features: Float[Array, "batch *space fan_out"]) -> Layer:
    """Mean and variance of each feature over a batch and all positions, in float32."""
    axes = tuple(range(features.ndim - 1))
    wide = features.astype(jnp.float32)
    mean = wide.mean(axis=axes)
    # One pass over the features; as in Flax, negative by rounding at most.
    variance = jnp.maximum((wide**2).mean(axis=axes) - mean**2, 0.0)
    return {"mean": mean, "variance": variance}

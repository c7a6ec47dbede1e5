"""Weight-space augmentation: changes of the image, written as changes of the first layer.

A first layer is linear in the image: W (A x + n) = (W A) x + W n. So filters that are scaled,
smoothed or moved, and what is added to the bias, show the classifier an image of other contrast,
blurred, moved, brighter or noisy, without touching the data. One draw serves the whole batch of a
step. Only a corrupted outer loss asks for it: on clean images it does harm. The idea is this
package's own.

A first layer that is dense sees the whole image, and all five changes are exact. Filters that slide
over the image know no place: there contrast, brightness and blur alone are changed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from noiseproof.layouts.layout import fit_layout
from noiseproof.numerics.fields import spectral_field
from noiseproof.numerics.warps import sample
from noiseproof.optimizers.filters import neighborhood_mean
from noiseproof.optimizers.matrices import as_matrices, on_filters
from noiseproof.types import Layout, Params, Perturb, TensorRole

STEEPEST = 3.0
"""The noise's amplitude falls with frequency by a power that is even over 0 to this."""


class Strengths(NamedTuple):
    """How much of each change is drawn; 0 turns it off exactly.

    Attributes:
        contrast: Standard deviation of the logarithm of what the image is multiplied by.
        brightness: Standard deviation of a constant, in units of the image's own.
        noise: Standard deviation of noise of random spectrum, likewise.
        blur: Greatest share of a 3×3 mean of the image in it, up to 1; the share is even over 0
            to this.
        motion: Standard deviation of a shift along each axis, in sides of the image.
    """

    contrast: float | Scalar = 0.0
    brightness: float | Scalar = 0.0
    noise: float | Scalar = 0.0
    blur: float | Scalar = 0.0
    motion: float | Scalar = 0.0


def weight_space_augmentation(strengths: Strengths, layout: Layout) -> Perturb:
    """The first layer as it answers to a changed image.

    Args:
        strengths: Of the changes.
        layout: The roles of the classifier's tensors.
    """

    def perturb(params: Params, _grads_fn: Callable[[Params], Params], key: PRNGKeyArray) -> Params:
        leaves, structure = jax.tree.flatten(params)
        places = first_layer(layout, params)
        if not places:
            return params
        role, weight = fit_layout(layout, params)[places[0]], leaves[places[0]]
        keys = jax.random.split(key, 5)
        for bias in places[1:]:
            added = added_image(strengths, role, weight, keys[:3])
            seen = added.reshape(-1) @ as_matrices(role, weight)
            leaves[bias] += seen.reshape(leaves[bias].shape)
        leaves[places[0]] = on_filters(
            lambda filters: answering(strengths, filters, keys[3:], moves=sees_all(weight)),
            role,
            weight,
        )
        return structure.unflatten(leaves)

    return perturb


def first_layer(layout: Layout, params: Params) -> tuple[int, ...]:
    """The places among the leaves of the one tensor that sees the image, and of what is added to
    its units; without the latter where a norm comes before it, none where there is no such tensor.
    """
    roles = fit_layout(layout, params)
    firsts = [at for at, role in enumerate(roles) if role.kind == "first"]
    if len(firsts) != 1 or len(roles[firsts[0]].spatial_shape) != 3:
        return ()
    depth = roles[firsts[0]].depth_fraction
    beside = {at: role.kind for at, role in enumerate(roles) if role.depth_fraction == depth}
    biases = [at for at, kind in beside.items() if kind == "bias"]
    is_plain = len(biases) == 1 and "norm" not in beside.values()
    return (firsts[0], *(biases if is_plain else ()))


def sees_all(weight: Float[Array, "..."]) -> bool:
    """Whether a first layer is dense, and so knows places."""
    return weight.ndim == 2


def added_image(
    strengths: Strengths,
    role: TensorRole,
    weight: Float[Array, "..."],
    keys: Key[Array, " 3"],
) -> Float[Array, "height width channels"]:
    """A constant, and noise of a random spectrum where the first layer sees the whole image."""
    height, width, channels = role.spatial_shape
    brightness = strengths.brightness * jax.random.normal(keys[0])
    if not sees_all(weight):
        return jnp.full((height, width, channels), brightness)
    exponent = jax.random.uniform(keys[1], maxval=STEEPEST)
    fields = [
        spectral_field(exponent, height, width, own) for own in jax.random.split(keys[2], channels)
    ]
    return brightness + strengths.noise * jnp.stack(fields, axis=-1)


def answering(
    strengths: Strengths,
    filters: Float[Array, "height width channels units"],
    keys: Key[Array, " 2"],
    *,
    moves: bool,
) -> Float[Array, "height width channels units"]:
    """Filters that answer to an image as these would to one of other contrast, blurred, moved."""
    contrast_key, blur_key = jax.random.split(keys[0])
    share = strengths.blur * jax.random.uniform(blur_key)
    filters = filters + share * (neighborhood_mean(filters) - filters)
    if moves:
        filters = moved(filters, strengths.motion * jax.random.normal(keys[1], (2,)))
    return jnp.exp(strengths.contrast * jax.random.normal(contrast_key)) * filters


def moved(
    filters: Float[Array, "height width channels units"], shift: Float[Array, " 2"]
) -> Float[Array, "height width channels units"]:
    """Filters shifted along both axes by these shares of their sides, zero beyond the border."""
    height, width = filters.shape[:2]
    rows = jnp.arange(height)[:, None] + shift[0] * height + jnp.zeros((1, width))
    columns = jnp.arange(width) + shift[1] * width + jnp.zeros((height, 1))
    planes = filters.reshape(height, width, -1)
    return sample(planes, rows, columns, "zero").reshape(filters.shape)

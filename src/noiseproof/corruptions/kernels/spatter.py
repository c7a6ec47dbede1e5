"""Spatter: drops of water or mud on the lens, as in CIFAR-10-C.

D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261. Water, of the lower severities, is lit at
the edges of its drops: Canny edges, distance to them, equalized and embossed, all in 8 bits, as the
original does with OpenCV. Two steps differ a little: distances are Euclidean where OpenCV's 5×5
mask is within 2 percent of them, and weak edges are followed over `MIN_TRACE` pixels or half the
side.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.corruptions.kernels import edges
from noiseproof.numerics import filters, sampling
from noiseproof.types import Constant, Image

WATER = np.array([175.0, 238.0, 238.0], np.float32) / 255
"""Color of water: pale turquoise."""

MUD = np.array([63.0, 42.0, 20.0], np.float32) / 255
"""Color of mud: dark brown."""

MAX_SOFTNESS = 1.5
"""Static bound of the softness of mud, in pixels: the largest of all tables."""

_EMBOSS = np.array([[-2.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
_MAX_DISTANCE = 20

Plane = Float[Array, "height width"]


def spatter(
    image: Image,
    key: PRNGKeyArray,
    *,
    mean: Constant,
    std: Constant,
    sigma: Constant,
    threshold: Constant,
    strength: Constant,
    mud: Constant,
    max_sigma: float,
) -> Image:
    """Lays drops over the image: water where `mud` is 0, mud where it is 1.

    Args:
        image: The image; grey ones get the red of the colors, as in MNIST-C.
        key: Draws the drops.
        mean: Of the normal numbers that become drops.
        std: Their standard deviation, before they are smoothed.
        sigma: Of the Gaussian that smooths them, in pixels.
        threshold: Height above which liquid stays on the lens.
        strength: Brightness of water; or sigma, in pixels, that softens the borders of mud.
        mud: 0 or 1.
        max_sigma: Upper bound of `sigma`, static.
    """
    height, width, _ = image.shape
    field = mean + std * sampling.normal((height, width, 1), key)
    soft = filters.gaussian_blur(field, sigma, max_sigma=max_sigma)[..., 0]
    liquid = jnp.where(soft < threshold, 0.0, soft)
    if isinstance(mud, int):
        return _lay_mud(image, liquid, strength) if mud else lay_water(image, liquid, strength)
    wet, dirty = lay_water(image, liquid, strength), _lay_mud(image, liquid, strength)
    return jnp.where(mud > 0, dirty, wet)


def _lay_mud(image: Image, liquid: Plane, strength: Constant) -> Image:
    drops = jnp.asarray(liquid > 0, jnp.float32)[..., None]
    soft = filters.gaussian_blur(drops, strength, max_sigma=MAX_SOFTNESS)
    cover = jnp.where(soft < 0.8, 0.0, soft)
    return image * (1 - cover) + cover * MUD[: image.shape[-1]]


def lay_water(image: Image, liquid: Plane, strength: Constant) -> Image:
    """Adds the light that drops of the heights `liquid`, 0 to 1, catch at their edges."""
    levels = jnp.floor(liquid * 255)
    light = levels * _glint(levels)
    light = light / jnp.maximum(light.max(), 1.0) * strength
    return image + light[..., None] * WATER[: image.shape[-1]]


def _glint(levels: Plane) -> Plane:
    """Where drops catch light, 0 to 255: along their edges, embossed from the upper left."""
    near = edges.distances(edges.canny_edges(levels, 50.0, 150.0), at_most=_MAX_DISTANCE)
    near = jnp.floor(_box(near) + 1e-3)
    spread = _equalize(near)[..., None]
    embossed = filters.correlate(spread, _EMBOSS, border="reflect")[..., 0].clip(0.0, 255.0)
    return jnp.round(_box(embossed))


def _box(plane: Plane) -> Plane:
    """Means of 3×3 pixels, the border mirrored."""
    rows, columns = (_box_matrix(size) for size in plane.shape)
    return filters.separable(plane[..., None], jnp.asarray(rows), jnp.asarray(columns))[..., 0]


@cache
def _box_matrix(size: int) -> np.ndarray:
    index = np.pad(np.arange(size), 1, mode="reflect")
    rows = np.eye(size)[index]
    return ((rows[:-2] + rows[1:-1] + rows[2:]) / 3).astype(np.float32)


def _equalize(plane: Plane) -> Plane:
    """Spreads the whole numbers 0 to 20 over 0 to 255 by their ranks, the least becoming 0."""
    values = jnp.arange(_MAX_DISTANCE + 1)
    at_most = (plane[..., None] <= values).sum(axis=(0, 1))
    least = at_most[plane.min().astype(jnp.int32)]
    spread = (at_most - least) * 255 / jnp.maximum(plane.size - least, 1)
    table = jnp.round(spread.astype(jnp.float32))
    return table.at[plane.astype(jnp.int32)].get(mode="promise_in_bounds")

"""Edges of an image by Canny's method (J. Canny, 1986), and distances to them.

Both steps that a CPU does pixel by pixel are done for all pixels at once: following weak edges
from strong ones is a number of dilations, and the distance to the nearest edge is found along
columns by steps of doubling length, then across them as the least of sums of squares.
"""

from collections.abc import Callable
from functools import cache

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from noiseproof.numerics.filters import correlate
from noiseproof.types import Image

MIN_TRACE = 16
"""Pixels that a weak edge is followed from a strong one: so many, or half the side of larger
images; longer ones are cut."""

Plane = Float[Array, "height width"]
Mask = Bool[Array, "height width"]

_SOBEL = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
_TANGENT = np.tan(np.pi / 8)


def draw_edges(image: Image, key: PRNGKeyArray) -> Image:
    """Replaces the image by its edges, white on black, as MNIST-C does."""
    del key  # nothing is random here
    edges = smooth_edges(image.mean(axis=-1))
    return jnp.broadcast_to(edges[..., None], image.shape).astype(image.dtype)


def canny_edges(plane: Plane, low: float, high: float) -> Mask:
    """Thin edges as OpenCV finds them: Sobel filters, |dx| + |dy|, four directions.

    Args:
        plane: Whole grey levels, 0 to 255.
        low: Edges at or below this strength are none.
        high: Edges above this strength are seeds; weaker ones count if they touch one.
    """
    dx, dy = (_slope(plane, kernel, "edge") for kernel in (_SOBEL, _SOBEL.T))
    strength = jnp.abs(dx) + jnp.abs(dy)
    thin = _is_ridge(strength, dx, dy) & (strength > low)
    return follow(thin & (strength > high), thin)


def smooth_edges(plane: Plane, *, sigma: float = 1.0, low: float = 0.1, high: float = 0.2) -> Mask:
    """Thin edges as scikit-image finds them: a Gaussian, Sobel filters, interpolated neighbors.

    Args:
        plane: In [0, 1].
        sigma: Of the Gaussian, in pixels; what lies beyond the border has no weight.
        low: Edges weaker than this are none.
        high: Edges at least this strong are seeds; weaker ones count if they touch one.
    """
    height, width = plane.shape
    rows, columns = (_inside_gaussian(size, sigma) for size in (height, width))
    smooth = jnp.asarray(rows) @ plane @ columns.T
    dx, dy = (_slope(smooth, kernel, "symmetric") / 4 for kernel in (_SOBEL, _SOBEL.T))
    strength = jnp.hypot(dx, dy)
    framed = np.pad(np.ones((height - 2, width - 2), bool), 1)
    thin = _is_interpolated_ridge(strength, dx, dy) & (strength >= low) & framed
    return follow(thin & (strength >= high), thin)


def follow(seeds: Mask, weak: Mask) -> Mask:
    """The weak pixels that a chain of weak pixels joins to a seed, if it is not too long."""

    def grow(_: Int[Array, ""], found: Array) -> Array:
        rows = jnp.pad(found, 1)
        rows = rows[:-2] | rows[1:-1] | rows[2:]
        return (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]) & weak

    return lax.fori_loop(0, max(MIN_TRACE, max(seeds.shape) // 2), grow, seeds)


def distances(points: Mask, *, at_most: float) -> Plane:
    """Euclidean distance of every pixel to the nearest of some points, cut off at `at_most`."""
    height, width = points.shape
    upright = jnp.where(points, 0.0, at_most)
    step = 1
    while step < at_most:
        padded = jnp.pad(upright, ((step, step), (0, 0)), constant_values=at_most)
        nearest = jnp.minimum(padded[:height], padded[2 * step :])
        upright = jnp.minimum(upright, nearest + step)
        step *= 2
    squares = upright**2
    sideways = jnp.asarray((np.arange(width)[:, None] - np.arange(width)) ** 2, jnp.float32)

    def through(column: Int[Array, ""], least: Array) -> Array:
        there = lax.dynamic_slice_in_dim(squares, column, 1, axis=1)
        return jnp.minimum(least, there + sideways[column])

    start = jnp.full((height, width), at_most**2, jnp.float32)
    return jnp.sqrt(lax.fori_loop(0, width, through, start))


def _slope(plane: Plane, kernel: np.ndarray, border: str) -> Plane:
    return correlate(plane[..., None], kernel, border=border)[..., 0]


@cache
def _inside_gaussian(size: int, sigma: float) -> np.ndarray:
    """A Gaussian of radius int(4 sigma + 1/2), as a matrix whose rows are renormalized inside."""
    offset = np.abs(np.arange(size)[:, None] - np.arange(size))
    weights = np.exp(-(offset**2) / (2 * sigma**2)) * (offset <= int(4 * sigma + 0.5))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _is_interpolated_ridge(strength: Plane, dx: Plane, dy: Plane) -> Mask:
    """Whether both neighbors along the gradient, between pixels, are no stronger."""
    beside = _neighbors(strength)
    steep, flat = jnp.abs(dy), jnp.abs(dx)
    upright = steep > flat
    share = jnp.minimum(steep, flat) / jnp.maximum(jnp.maximum(steep, flat), 1e-12)
    falling = (dx >= 0) == (dy >= 0)

    def along(step: int) -> Plane:
        straight = jnp.where(upright, beside(step, 0), beside(0, step))
        other = jnp.where(upright, beside(step, -step), beside(-step, step))
        diagonal = jnp.where(falling, beside(step, step), other)
        return share * diagonal + (1 - share) * straight

    return (strength >= along(1)) & (strength >= along(-1)) & (strength > 0)


def _neighbors(plane: Plane) -> Callable[[int, int], Plane]:
    height, width = plane.shape
    padded = jnp.pad(plane, 1)
    return lambda down, right: padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]


def _is_ridge(strength: Plane, dx: Plane, dy: Plane) -> Mask:
    """Whether a pixel is the strongest of three across its edge."""
    beside = _neighbors(strength)

    def exceeds(down: int, right: int) -> Mask:
        return (strength > beside(-down, -right)) & (strength > beside(down, right))

    def exceeds_or_ties(down: int, right: int) -> Mask:
        return (strength > beside(-down, -right)) & (strength >= beside(down, right))

    steep, flat = jnp.abs(dy), jnp.abs(dx)
    level, upright = steep < _TANGENT * flat, steep > flat / _TANGENT
    falling = jnp.sign(dx) * jnp.sign(dy) >= 0
    diagonal = jnp.where(falling, exceeds(1, 1), exceeds(1, -1))
    sideways = jnp.where(level, exceeds_or_ties(0, 1), diagonal)
    return jnp.where(upright, exceeds_or_ties(1, 0), sideways)

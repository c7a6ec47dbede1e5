"""Geometry: elastic deformation of CIFAR-10-C; shifts, scales, turns and shears of MNIST-C.

Elastic deformation as in D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261; the others as in
N. Mu and J. Gilmer, 2019, arXiv 1906.02337, with black beyond the border, for any size: they turn
about the center of the image, and translations are shares of its sides.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.numerics import sampling
from noiseproof.numerics.fields import spectral_field
from noiseproof.numerics.filters import gaussian_matrix
from noiseproof.numerics.warps import sample
from noiseproof.types import Constant, Image, ImageTransform


def deform(
    image: Image,
    key: PRNGKeyArray,
    *,
    strength: Constant,
    smoothness: Constant,
    affine: Constant,
    max_smoothness: float,
) -> Image:
    """A random affine map, then smooth random displacements.

    Args:
        image: The image.
        key: Draws three control points and two fields.
        strength: Of the displacements, as a share of the image side.
        smoothness: Sigma of the Gaussian that smooths them, as a share of the side.
        affine: How far a control point moves at most, as a share of the side.
        max_smoothness: Upper bound of `smoothness`, static.
    """
    affine_key, fields_key = jax.random.split(key)
    turned = _move_three_points(image, affine, affine_key)
    height, width, _ = image.shape
    side = max(height, width)
    smooth = [
        gaussian_matrix(
            size,
            smoothness * side,
            max_sigma=max_smoothness * side,
            border="symmetric",
            truncate=3.0,
        )
        for size in (height, width)
    ]
    noise = sampling.uniform((2, width, height), fields_key)
    half = jnp.einsum("kab,ib->kai", noise, smooth[0])
    shifts = strength * side * jnp.einsum("kai,ja->kij", half, smooth[1])
    rows, columns = jnp.mgrid[:height, :width]
    return sample(turned, rows + shifts[0], columns + shifts[1], "symmetric")


def random_warp(*, exponents: tuple[float, float], max_std: float) -> ImageTransform:
    """Moves every pixel by a smooth random field: from ripples to mere translations.

    The displacements are Gaussian fields of the amplitude spectrum frequency^-exponent. Every image
    draws its own exponent and scale, evenly.

    Args:
        exponents: Least and greatest exponent.
        max_std: Greatest standard deviation of a displacement along one axis, as a share of the
            image side; the least is 0.

    Raises:
        ValueError: The range of exponents is not in order, or `max_std` is negative.
    """
    low, high = exponents
    if not 0 <= low <= high:
        raise ValueError(f"exponents must rise from 0 or more, got {low} to {high}.")
    if not max_std >= 0:
        raise ValueError(f"max_std must not be negative, got {max_std}.")

    def transform(image: Image, key: PRNGKeyArray) -> Image:
        height, width, _ = image.shape
        draw_key, *keys = jax.random.split(key, 3)
        lows, highs = jnp.array(((low, high), (0.0, max_std))).T
        exponent, std = jax.random.uniform(draw_key, (2,), minval=lows, maxval=highs)
        size = std * max(height, width)
        down, right = (size * spectral_field(exponent, height, width, one) for one in keys)
        rows, columns = jnp.mgrid[:height, :width]
        return sample(image, rows + down, columns + right, "zero")

    return transform


def translate(image: Image, key: PRNGKeyArray, *, share: Constant) -> Image:
    """Moves the image by `share` of its sides, up or down, left or right."""
    height, width, _ = image.shape
    down, right = _signs(key) * share
    return resample(image, jnp.eye(2), jnp.stack([down * height, right * width]))


def rescale(image: Image, key: PRNGKeyArray, *, factor: Constant) -> Image:
    """Shrinks the image by `factor` about its center."""
    del key  # nothing is random here
    return resample(image, factor * jnp.eye(2), jnp.zeros(2))


def rotate(image: Image, key: PRNGKeyArray, *, radians: Constant) -> Image:
    """Turns the image about its center, to either side."""
    return resample(image, rotation(radians * _signs(key)[0]), jnp.zeros(2))


def shear(image: Image, key: PRNGKeyArray, *, radians: Constant) -> Image:
    """Shears rows against each other, to either side: columns read column - tan(angle) · row."""
    slope = jnp.tan(radians * _signs(key)[0])
    return resample(image, jnp.array([[1.0, 0.0], [-slope, 1.0]]), jnp.zeros(2))


def rotation(radians: Constant) -> Float[Array, "2 2"]:
    """The matrix of a turn."""
    cos, sin = jnp.cos(radians), jnp.sin(radians)
    return jnp.array([[cos, sin], [-sin, cos]])


def resample(image: Image, matrix: Float[Array, "2 2"], offset: Float[Array, "2"]) -> Image:
    """Reads each pixel from `matrix` · (row, column) + `offset`, both counted from the center."""
    height, width, _ = image.shape
    center = jnp.array([(height - 1) / 2, (width - 1) / 2])
    points = jnp.moveaxis(jnp.mgrid[:height, :width], 0, -1) - center
    source = jnp.einsum("ij,hwj->hwi", matrix, points) + offset + center
    return sample(image, source[..., 0], source[..., 1], "zero")


def _signs(key: PRNGKeyArray) -> Float[Array, "2"]:
    return jnp.sign(sampling.uniform((2,), key))


def _move_three_points(image: Image, affine: Constant, key: PRNGKeyArray) -> Image:
    height, width, _ = image.shape
    reach = min(height, width) // 3
    moves = affine * max(height, width) * sampling.uniform((3, 2), key)
    # The points (c+r, c+r), (c-r, c+r), (c-r, c-r) as (row, column); the map is linear in their
    # moves, and the differences of neighbors are its columns.
    by_row, by_column = (moves[0] - moves[1]) / (2 * reach), (moves[1] - moves[2]) / (2 * reach)
    forward = jnp.eye(2) + jnp.stack([by_row, by_column], axis=1)
    corner = jnp.array([height // 2 + reach, width // 2 + reach], jnp.float32)
    points = jnp.moveaxis(jnp.mgrid[:height, :width], 0, -1) - corner - moves[0]
    (a, b), (c, d) = forward
    inverse = jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)
    source = jnp.einsum("ij,hwj->hwi", inverse, points) + corner
    return sample(image, source[..., 0], source[..., 1], "reflect")

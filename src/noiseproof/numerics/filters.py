"""Linear filters of one image: small kernels, and matrices along rows and columns.

A convolution under `vmap` is slow on a CPU. A small kernel is a sum of shifted slices here, which
XLA fuses into one loop; a separable filter is one matrix for rows and one for columns.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from noiseproof.types import Constant, Image

MAX_UNROLLED = 7
"""Rows of a kernel up to which a filter is written out, as fast as it gets."""


def separable(
    image: Image, rows: Float[Array, "out_height height"], columns: Float[Array, "out_width width"]
) -> Float[Array, "out_height out_width channels"]:
    """Multiplies every channel by `rows` from the left and `columns` transposed from the right."""
    return jnp.einsum("ih,hwc,jw->ijc", rows, image, columns, precision="highest")


def gaussian_matrix(
    size: int, sigma: Constant, *, max_sigma: float, border: str, truncate: float = 4.0
) -> Float[Array, "size size"]:
    """A Gaussian filter along an axis, as a matrix.

    Args:
        size: Of the axis, in pixels.
        sigma: Standard deviation in pixels, may be traced; 0 is the identity.
        max_sigma: Upper bound of `sigma`, static, which sizes the kernel.
        border: `"edge"` (repeats the last pixel) or `"symmetric"` (mirrors it too), as in `pad`.
        truncate: The kernel ends at the radius int(truncate · sigma + 1/2).
    """
    index = np.arange(size)
    beyond = np.arange(1, int(truncate * max_sigma + 0.5) + 1)

    def weight(offset: np.ndarray) -> Float[Array, "..."]:
        inside = np.abs(offset) <= jnp.floor(truncate * sigma + 0.5)
        return jnp.exp(-(offset**2) / (2 * jnp.maximum(sigma, 1e-3) ** 2)) * inside

    apart = index[:, None] - index
    if border == "symmetric":
        # Pixel j of the mirrored axis is also at -1 - j, and all of it again after twice the size.
        turns = len(beyond) // (2 * size) + 1
        images = np.stack([apart, index[:, None] + index + 1], axis=-1)
        shifts = 2 * size * np.arange(-turns, turns + 1)
        matrix = weight(images[..., None] + shifts).sum(axis=(-2, -1))
    else:
        # What lies beyond an end counts as the last pixel.
        spill = weight(beyond) @ jnp.asarray(beyond[:, None] > index, jnp.float32)
        matrix = weight(apart).at[:, 0].add(spill).at[:, -1].add(spill[::-1])
    return matrix / (1 + 2 * weight(beyond).sum())


def gaussian_blur(image: Image, sigma: Constant, *, max_sigma: float) -> Image:
    """A Gaussian filter of every channel, edges repeated."""
    height, width, _ = image.shape
    rows, columns = (
        gaussian_matrix(size, sigma, max_sigma=max_sigma, border="edge") for size in (height, width)
    )
    return separable(image, rows, columns)


def correlate(
    image: Image, kernel: Float[Array | np.ndarray, "rows columns"], *, border: str
) -> Image:
    """Correlates every channel with a small kernel of odd sides; `border` as in `jnp.pad`."""
    height, width, channels = image.shape
    num_rows, num_columns = kernel.shape
    margins = ((num_rows // 2,) * 2, (num_columns // 2,) * 2, (0, 0))
    padded = jnp.pad(image, margins, mode=border)
    # Columns and channels as one axis, so that the inner loop is long enough for vector units.
    flat = padded.reshape(padded.shape[0], -1)
    weights = jnp.asarray(kernel)

    def add(row: Any, total: Array) -> Array:
        band = lax.dynamic_slice_in_dim(flat, row, height)
        for column in range(num_columns):
            start = column * channels
            total = total + weights[row, column] * band[:, start : start + width * channels]
        return total

    total = jnp.zeros((height, width * channels), image.dtype)
    # Rows of a large kernel are a loop of the compiled program, which would grow without bound.
    unroll = num_rows <= MAX_UNROLLED
    return lax.fori_loop(0, num_rows, add, total, unroll=unroll).reshape(image.shape)


def zoom_matrix(size: int, factor: Constant) -> Float[Array, "size size"]:
    """Zooms into the center of an axis as the original script does, linear, as a matrix.

    The script crops the middle ceil(size / factor) pixels, stretches them to round(crop · factor)
    with aligned ends, and cuts that to the old size, from the left part when there is one too
    many, which shifts it by half a pixel.
    """
    crop = jnp.ceil(size / factor - 1e-4)
    stretched = jnp.round(crop * factor)
    first = jnp.floor((size - crop) / 2)
    trim = jnp.floor((stretched - size) / 2)
    position = first + (jnp.arange(size) + trim) * (crop - 1) / (stretched - 1)
    return jnp.maximum(0.0, 1.0 - jnp.abs(position[:, None] - jnp.arange(size)))


def box_matrix(size: int, num_blocks: Constant) -> Float[Array, "size size"]:
    """Averages an axis to `num_blocks` pixels and repeats them to the old size, as a matrix.

    Bounds are those of a box filter in whole pixels (Pillow's), in integers, hence exact.
    """
    index = jnp.arange(size)
    blocks = jnp.asarray(num_blocks, jnp.int32)
    block = (2 * index + 1) * blocks // (2 * size)
    low = (2 * block * size + blocks) // (2 * blocks)
    high = (2 * (block + 1) * size + blocks) // (2 * blocks)
    inside = (low[:, None] <= index) & (index < high[:, None])
    return inside / (high - low)[:, None].astype(jnp.float32)


def disk_kernel(
    radius: Constant, alias_sigma: Constant, *, max_radius: float
) -> Float[Array, "side side"]:
    """A disk of ones, normalized and softened by a 3×3 Gaussian of `alias_sigma` pixels."""
    half = math.floor(max_radius) + 1
    square = np.arange(-half, half + 1) ** 2
    disk = jnp.asarray(square[:, None] + square <= radius**2, jnp.float32)
    weights = jnp.exp(-(np.arange(-1, 2) ** 2) / (2 * alias_sigma**2))
    weights = weights / weights.sum()
    soft = correlate(disk[..., None], jnp.outer(weights, weights), border="constant")[..., 0]
    return soft / disk.sum()

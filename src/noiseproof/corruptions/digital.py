"""What files do to images: coarse pixels and JPEG.

JPEG follows the baseline codec as libjpeg computes it (ITU-T T.81, 1992, with its tables of Annex
K; 4:2:0 color, triangular up-sampling), rounding at each stage where it rounds, but with an exact
cosine transform in place of the 13-bit integer one. Against Pillow this moves single pixels by one
or two levels, rarely more where a coefficient falls on the other side of a rounding. Gradients pass
straight through every rounding.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.corruptions.filters import box_matrix, separable
from noiseproof.corruptions.levels import quantized, rounded, straight_through
from noiseproof.corruptions.severity import Constant
from noiseproof.types import Image

LUMA_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Steps of the luma coefficients at quality 50 (T.81, table K.1)."""

CHROMA_TABLE = np.full((8, 8), 99)
"""Steps of the chroma coefficients at quality 50 (T.81, table K.2)."""
CHROMA_TABLE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

_FROM_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]],
    np.float32,
)
_TO_RGB = np.array(
    [[1.0, 0.0, 1.402], [1.0, -0.344136286, -0.714136286], [1.0, 1.772, 0.0]], np.float32
)

Plane = Float[Array, "height width"]


def pixelate(image: Image, key: PRNGKeyArray, *, share: Constant) -> Image:
    """Averages the image to `share` of its side and enlarges it again, in 8 bits as Pillow does."""
    del key  # nothing is random here
    rows, columns = (box_matrix(size, jnp.floor(size * share + 1e-4)) for size in image.shape[:2])
    # Two passes with a rounding in between, columns first.
    squeezed = rounded(separable(quantized(image), jnp.eye(image.shape[0]), columns))
    return rounded(separable(squeezed, rows, jnp.eye(image.shape[1])))


def compress_jpeg(image: Image, key: PRNGKeyArray, *, quality: Constant) -> Image:
    """Writes the image as a JPEG file of a `quality` from 1 to 100, and reads it back."""
    del key  # nothing is random here
    levels = quantized(image) * 255
    if image.shape[-1] == 1:
        return jnp.expand_dims(_code(levels[..., 0], _steps(LUMA_TABLE, quality)), -1) / 255
    return _jpeg_color(levels, quality) / 255


def _jpeg_color(levels: Image, quality: Constant) -> Image:
    height, width, _ = levels.shape
    even = jnp.pad(levels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    converted = jnp.einsum("hwc,kc->khw", even, _FROM_RGB)
    luma = _whole(converted[0])
    decoded = [_code(luma, _steps(LUMA_TABLE, quality))[:height, :width]]
    for plane in converted[1:]:
        small = _halve(_whole(plane + 128))
        coded = _code(small, _steps(CHROMA_TABLE, quality))
        decoded.append(_double(coded)[:height, :width] - 128)
    return _whole(jnp.einsum("khw,ck->hwc", jnp.stack(decoded), _TO_RGB)).clip(0, 255)


def _whole(values: Float[Array, "*shape"], offset: float = 0.5) -> Float[Array, "*shape"]:
    return straight_through(values, lambda x: jnp.floor(x + offset))


def _steps(table: np.ndarray, quality: Constant) -> Float[Array, "8 8"]:
    # libjpeg's rule: percent of the table, halved quality doubles the steps below 50.
    percent = jnp.where(jnp.less(quality, 50), 5000 // quality, 200 - 2 * quality)
    return ((jnp.asarray(table) * percent + 50) // 100).clip(1, 255).astype(jnp.float32)


def _code(plane: Plane, steps: Float[Array, "8 8"]) -> Plane:
    """Through the cosine transform, coarse steps and back: what a JPEG file keeps of a plane."""
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, -height % 8), (0, -width % 8)), mode="edge") - 128
    rows, columns = (_cosines(size // 8) for size in padded.shape)
    grid = jnp.tile(steps, (padded.shape[0] // 8, padded.shape[1] // 8))
    coefficients = _along_both(padded, rows, columns)
    kept = straight_through(coefficients / grid, lambda x: jnp.sign(x) * jnp.floor(abs(x) + 0.5))
    restored = _along_both(kept * grid, rows.T, columns.T)
    return (_whole(restored) + 128).clip(0, 255)[:height, :width]


def _along_both(
    plane: Plane, rows: np.ndarray, columns: np.ndarray
) -> Float[Array, "out_height out_width"]:
    half = jnp.einsum("ab,jb->aj", plane, columns)
    return jnp.einsum("aj,ia->ij", half, rows)


@cache
def _cosines(num_blocks: int) -> np.ndarray:
    """The orthonormal 8-point cosine transform of every block of an axis, as one matrix."""
    k = np.arange(8)
    matrix = np.cos(np.pi * (2 * k + 1) * k[:, None] / 16) / 2
    matrix[0] /= np.sqrt(2.0)
    return np.kron(np.eye(num_blocks), matrix).astype(np.float32)


def _halve(plane: Plane) -> Float[Array, "half_height half_width"]:
    """Means of 2×2 pixels; libjpeg rounds halves down and up in turns along a row."""
    total = plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    bias = 1.0 + np.arange(total.shape[1]) % 2
    return straight_through(total / 4, lambda x: jnp.floor(x + bias / 4))


def _double(plane: Plane) -> Float[Array, "twice_height twice_width"]:
    """Twice the size by weights of 3/4 and 1/4; libjpeg rounds by 8/16 and 7/16 in turns."""
    rows, columns = (_triangle(size) for size in plane.shape)
    fine = _along_both(plane, rows, columns)
    bias = np.where(np.arange(fine.shape[1]) % 2 == 0, 8.0, 7.0) / 16
    return straight_through(fine, lambda x: jnp.floor(x + bias))


@cache
def _triangle(size: int) -> np.ndarray:
    index = np.arange(2 * size)
    near = index // 2
    far = (near + np.where(index % 2 == 0, -1, 1)).clip(0, size - 1)
    return (0.75 * np.eye(size)[near] + 0.25 * np.eye(size)[far]).astype(np.float32)

"""What JPEG files do to images.

The baseline codec (ITU-T T.81, 1992, with its tables of Annex K; 4:2:0 color) as libjpeg computes
it in whole numbers: fixed-point colors, a cosine transform of 13-bit factors that is rounded after
each of its two passes, triangular up-sampling. On CIFAR-10 a few pixels of a million differ from
Pillow's, by one level. Gradients pass straight through every rounding.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.numerics.levels import quantized, straight_through
from noiseproof.types import Constant, Image

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

# Fixed-point colors of 16 bits; every sum stays below 2^24, where 32-bit floats are exact.
_UNIT = 65536
_FROM_RGB = np.array([[19595, 38470, 7471], [-11058, -21710, 32768], [32768, -27439, -5329]])
_TO_RGB = np.array([[0, 91881], [-22554, -46802], [116130, 0]])

Plane = Float[Array, "height width"]


def compress_jpeg(image: Image, key: PRNGKeyArray, *, quality: Constant) -> Image:
    """Writes the image as a JPEG file of a `quality` from 1 to 100, and reads it back."""
    del key  # nothing is random here
    levels = _whole(quantized(image) * 255)
    if image.shape[-1] == 1:
        return jnp.expand_dims(_code(levels[..., 0], _steps(LUMA_TABLE, quality)), -1) / 255
    return _jpeg_color(levels, quality) / 255


def _jpeg_color(levels: Image, quality: Constant) -> Image:
    height, width, _ = levels.shape
    # Columns are filled up before colors are halved, rows after it.
    even = jnp.pad(levels, ((0, height % 2), (0, -width % 16), (0, 0)), mode="edge")
    luma, *chroma = (
        (row[0] * even[..., 0] + row[1] * even[..., 1] + row[2] * even[..., 2]) / _UNIT
        for row in _FROM_RGB
    )
    luma = _code(_whole(luma), _steps(LUMA_TABLE, quality))[:height, :width]
    steps = _steps(CHROMA_TABLE, quality)
    # Halves of chroma are rounded down.
    small = [_halve(_whole(plane + 128, 0.5 - 1 / _UNIT)) for plane in chroma]
    visible = [_code(plane, steps)[:, : (width + 1) // 2] for plane in small]
    blue, red = (_double(plane)[:height, :width] - 128 for plane in visible)
    colors = [luma + _whole((b * blue + r * red) / _UNIT) for b, r in _TO_RGB]
    return jnp.stack(colors, axis=-1).clip(0, 255)


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
    grid = jnp.tile(steps.T, (padded.shape[1] // 8, padded.shape[0] // 8))
    # Each pass is longer than an orthonormal one by the root of 8; two binary digits are kept
    # between passes, and the coefficients come out eight times too large. They are transposed:
    # products over the last axis, then over the first one, are the fast ones on a CPU.
    half = _whole(4 * _over_last(padded, columns))
    scaled = _whole(_over_first(half, rows) / 4)
    kept = straight_through(
        scaled / (8 * grid), lambda x: jnp.sign(x) * jnp.floor(abs(x) + 0.5 + 1e-5)
    )
    back = _whole(4 * _over_last(kept * grid, rows.T))
    restored = _whole(_over_first(back, columns.T) / 32)
    return (restored + 128).clip(0, 255)[:height, :width]


def _over_last(plane: Plane, matrix: np.ndarray) -> Float[Array, "height new_width"]:
    return jnp.einsum("ab,jb->aj", plane, matrix, precision="highest")


def _over_first(plane: Plane, matrix: np.ndarray) -> Float[Array, "width new_height"]:
    """Transposes as well."""
    return jnp.einsum("aj,ia->ji", plane, matrix, precision="highest")


@cache
def _cosines(num_blocks: int) -> np.ndarray:
    """The cosine transform of every block of 8 of an axis, times the root of 8, as one matrix."""
    even = [
        [1.0, 1.0, 1.0, 1.0],
        [_fixed(0.541196100) + _fixed(0.765366865), _fixed(0.541196100)],
        [1.0, -1.0, -1.0, 1.0],
        [_fixed(0.541196100), _fixed(0.541196100) - _fixed(1.847759065)],
    ]
    for row in (1, 3):
        even[row] += [-even[row][1], -even[row][0]]
    matrix = np.zeros((8, 8))
    matrix[::2] = np.hstack([even, np.fliplr(even)])
    odd = _odd_cosines()
    matrix[1::2] = np.hstack([odd, -np.fliplr(odd)])
    return np.kron(np.eye(num_blocks), matrix).astype(np.float32)


def _odd_cosines() -> np.ndarray:
    """The left halves of the odd rows, by the factors of C. Loeffler and others, 1989.

    The products of the fast algorithm are multiplied out, so that this is the transform that it
    makes of its rounded factors.
    """
    # One product, of the sum of all four differences, is shared by all rows.
    matrix = np.full((4, 4), _fixed(1.175875602))
    # Differences of pixel pairs from the innermost to the outermost, against rows 7, 5, 3 and 1.
    matrix[np.arange(4), np.arange(4)] += [
        _fixed(x) for x in (0.298631336, 2.053119869, 3.072711026, 1.501321110)
    ]
    for first, second, factor in (
        (0, 3, -0.899976223),
        (1, 2, -2.562915447),
        (0, 2, -1.961570560),
        (1, 3, -0.390180644),
    ):
        pair = np.ix_([first, second], [first, second])
        matrix[pair] += _fixed(factor)
    return matrix[::-1, ::-1]


def _fixed(factor: float) -> float:
    """Rounded to the 13 binary digits of libjpeg."""
    return float(np.floor(factor * 8192 + 0.5)) / 8192


def _halve(plane: Plane) -> Float[Array, "half_height half_width"]:
    """Means of 2×2 pixels; libjpeg rounds halves down and up in turns along a row."""
    total = plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    bias = 1.0 + np.arange(total.shape[1]) % 2
    return straight_through(total / 4, lambda x: jnp.floor(x + bias / 4))


def _double(plane: Plane) -> Float[Array, "twice_height twice_width"]:
    """Twice the size by weights of 3/4 and 1/4; libjpeg rounds by 8/16 and 7/16 in turns."""
    rows, columns = (_triangle(size) for size in plane.shape)
    fine = _over_first(_over_last(plane.T, rows), columns)
    bias = np.where(np.arange(fine.shape[1]) % 2 == 0, 8.0, 7.0) / 16
    return straight_through(fine, lambda x: jnp.floor(x + bias))


@cache
def _triangle(size: int) -> np.ndarray:
    index = np.arange(2 * size)
    near = index // 2
    far = (near + np.where(index % 2 == 0, -1, 1)).clip(0, size - 1)
    return (0.75 * np.eye(size)[near] + 0.25 * np.eye(size)[far]).astype(np.float32)

"""Random fields: Gaussian noise of a given spectrum, and plasma fractals.

A stationary Gaussian field is made without a Fourier transform: independent normal numbers, each
times the amplitude of its frequency, in a real Fourier basis along rows and columns. On a CPU the
two small matrix products cost less than the normal numbers themselves.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.numerics import sampling
from noiseproof.types import Constant


@cache
def fourier_basis(num_points: int, period: int) -> np.ndarray:
    """The real Fourier basis of a period, at its first points: `[num_points, period]`.

    Columns are orthonormal over a whole period, in the order of `fourier_frequencies`.
    """
    index = np.arange(period)
    wave = (index + 1) // 2
    # Columns 1, 3, 5 ... are cosines, 2, 4, 6 ... sines of the waves 1, 1, 2, 2 ...
    phase = np.where(index % 2 == 0, -np.pi / 2, 0.0)
    phase[0] = 0.0
    columns = np.cos(2 * np.pi * np.outer(np.arange(num_points), wave) / period + phase)
    alone = (wave == 0) | (2 * wave == period)
    return (columns * np.where(alone, 1.0, np.sqrt(2.0)) / np.sqrt(period)).astype(np.float32)


def fourier_frequencies(period: int) -> np.ndarray:
    """Cycles per pixel of the columns of `fourier_basis`."""
    return (np.arange(period) + 1) // 2 / period


def radial_frequencies(height: int, width: int) -> np.ndarray:
    """Cycles per pixel of every pair of basis functions, not below half the lowest nonzero one."""
    rows, columns = fourier_frequencies(height), fourier_frequencies(width)
    return np.maximum(np.hypot(rows[:, None], columns), 0.5 / max(height, width))


def gaussian_field(
    amplitudes: Float[Array, "rows columns"], height: int, width: int, key: PRNGKeyArray
) -> Float[Array, "height width"]:
    """A Gaussian field of a periodic plane, cut to its upper left part.

    Args:
        amplitudes: For every pair of basis functions; the variance of a pixel is the mean of
            their squares where cosine and sine of one wave have the same.
        height: Rows to keep, at most those of `amplitudes`.
        width: Columns to keep, at most those of `amplitudes`.
        key: Drawn from once.
    """
    coefficients = amplitudes.T * sampling.normal(amplitudes.T.shape, key)
    along_rows = jnp.asarray(fourier_basis(height, amplitudes.shape[0]))
    along_columns = jnp.asarray(fourier_basis(width, amplitudes.shape[1]))
    # XLA turns these two products into large ones when an axis of images is added, first over the
    # last axis, then over the first one; the plain B @ Z @ B.T is three times slower.
    half = jnp.einsum("ab,ib->ai", coefficients, along_rows, precision="highest")
    return jnp.einsum("ai,ja->ij", half, along_columns, precision="highest")


def spectral_field(
    exponent: Constant, height: int, width: int, key: PRNGKeyArray
) -> Float[Array, "height width"]:
    """A Gaussian field of amplitude spectrum frequency^-exponent and unit variance, periodic.

    The variance is that of the distribution: a single field of a steep spectrum is mostly one
    constant, whose square is 1 on average only.
    """
    amplitudes = jnp.exp(-exponent * np.log(radial_frequencies(height, width)).astype(np.float32))
    amplitudes = amplitudes / jnp.sqrt(jnp.mean(amplitudes**2))
    return gaussian_field(amplitudes, height, width, key)


def plasma(
    num_levels: int, decay: Constant, height: int, width: int, key: PRNGKeyArray
) -> Float[Array, "height width"]:
    """A plasma fractal by the diamond-square rule on a periodic square of 2^num_levels pixels.

    It starts from a corner of 0; each level fills in the centers of squares, then of diamonds, by
    the mean of four neighbors plus uniform noise, whose amplitude falls by `decay` squared per
    level: the original script multiplies by its amplitude twice. Brought to the range [0, 1].

    Args:
        num_levels: Halvings of the side until single pixels.
        decay: How fast details fade, above 1.
        height: Rows to keep, at most 2^num_levels.
        width: Columns to keep, likewise.
        key: Drawn from once.
    """
    side = 2**num_levels
    noise = sampling.uniform((side, side), key)
    grid = jnp.zeros((1, 1))
    for level in range(num_levels):
        step = side >> (level + 1)
        # Amplitude 100 / decay^level, squared; the final range makes the 100 irrelevant.
        grid = _diamond_square(grid, noise[::step, ::step], jnp.power(decay, -2.0 * level))
    low, high = grid.min(), grid.max()
    return ((grid - low) / (high - low))[:height, :width]


def _diamond_square(
    grid: Float[Array, "side side"], noise: Float[Array, "double double"], amplitude: Constant
) -> Float[Array, "double double"]:
    def around(offset: int, axis: int, points: Float[Array, "side side"]) -> Float[Array, "..."]:
        return points + jnp.roll(points, offset, axis)

    centers = around(-1, 0, around(-1, 1, grid)) / 4 + amplitude * noise[1::2, 1::2]
    above = (around(-1, 1, grid) + around(1, 0, centers)) / 4 + amplitude * noise[::2, 1::2]
    beside = (around(-1, 0, grid) + around(1, 1, centers)) / 4 + amplitude * noise[1::2, ::2]
    rows = jnp.stack([jnp.stack([grid, above], -1), jnp.stack([beside, centers], -1)], 1)
    return rows.reshape(2 * grid.shape[0], 2 * grid.shape[1])

"""Blurs: Gaussian, defocus, motion and zoom; frosted glass has a file of its own.

As in the original 32-pixel script of CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019, arXiv
1903.12261).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.corruptions import filters, sampling
from noiseproof.corruptions.severity import Constant
from noiseproof.types import Image

MAX_MOTION_SIGMAS = 4.0
"""Taps of a motion blur beyond so many sigmas weigh less than 0.0004 of the first; they are cut."""


def blur_gaussian(image: Image, key: PRNGKeyArray, *, sigma: Constant, max_sigma: float) -> Image:
    """A Gaussian filter of `sigma` pixels, edges repeated."""
    del key  # nothing is random here
    return filters.gaussian_blur(image, sigma, max_sigma=max_sigma)


def blur_defocus(
    image: Image,
    key: PRNGKeyArray,
    *,
    radius: Constant,
    alias_sigma: Constant,
    max_radius: float,
) -> Image:
    """A lens out of focus: a disk of `radius` pixels, softened; edges mirrored."""
    del key  # nothing is random here
    kernel = filters.disk_kernel(radius, alias_sigma, max_radius=max_radius)
    return filters.correlate(image, kernel, border="reflect")


def blur_motion(
    image: Image,
    key: PRNGKeyArray,
    *,
    radius: Constant,
    sigma: Constant,
    max_sigma: float,
    max_degrees: float = 45.0,
) -> Image:
    """A camera that moves: a one-sided line of Gaussian weights at a random angle.

    Args:
        image: The image.
        key: Draws the angle, uniform between plus and minus `max_degrees`.
        radius: Half the length of the line in pixels.
        sigma: Of the weights along the line, in pixels.
        max_sigma: Upper bound of `sigma`, static.
        max_degrees: Bound of the angle from the horizontal.
    """
    angle = sampling.uniform((), key) * math.radians(max_degrees)
    return smear(image, angle, radius=radius, sigma=sigma, max_sigma=max_sigma)


def smear(
    image: Image, angle: Constant, *, radius: Constant, sigma: Constant, max_sigma: float
) -> Image:
    """Weighs pixels along a line from each pixel, in whole steps as ImageMagick does."""
    height, width, channels = image.shape
    reach = math.ceil(MAX_MOTION_SIGMAS * max_sigma)
    taps = np.arange(min(reach, 2 * radius) + 1 if isinstance(radius, int) else reach + 1)
    weights = jnp.exp(-(taps**2) / (2 * sigma**2)) * (taps <= 2 * radius)
    weights = weights / weights.sum()
    down = jnp.ceil(taps * jnp.sin(angle) - 0.5).astype(jnp.int32)
    right = jnp.ceil(taps * jnp.cos(angle) - 0.5).astype(jnp.int32)
    flat = image.reshape(-1, channels)

    def add(tap: Int[Array, ""], total: Image) -> Image:
        rows = (jnp.arange(height) + down[tap]).clip(0, height - 1)
        columns = (jnp.arange(width) + right[tap]).clip(0, width - 1)
        return total + weights[tap] * _take(flat, rows[:, None] * width + columns)

    # A loop of the compiled program: unrolled, XLA works out angles anew for every pixel.
    return lax.fori_loop(0, len(taps), add, jnp.zeros_like(image))


def blur_zoom(image: Image, key: PRNGKeyArray, *, num_zooms: Constant, max_num_zooms: int) -> Image:
    """A lens that zooms: the mean of the image and its zooms by 1.00, 1.01, 1.02 and so on.

    Each zoom is a band of a matrix along rows and one along columns, and so is no pixel moved far:
    all of them together are one kernel per pixel, built once and applied in one sweep.
    """
    del key  # nothing is random here
    height, width, channels = image.shape
    # The script's steps of 0.01 come out a little long, which makes 26 pixels times 1.25 round up.
    factors = 1 + 0.010001 * np.arange(max_num_zooms)
    weights = jnp.clip(num_zooms - jnp.arange(max_num_zooms), 0, 1) / (num_zooms + 1)
    down, right = (_reach(size, factors[-1]) for size in (height, width))
    rows, columns = (
        _bands(size, factors, reach) for size, reach in ((height, down), (width, right))
    )
    kernels = jnp.einsum("k,kdi,kej->deij", weights, rows, columns)
    kernels = jnp.repeat(kernels, channels, axis=-1)
    padded = jnp.pad(image, ((down, down), (right, right), (0, 0)))
    flat = padded.reshape(padded.shape[0], -1)
    total = image.reshape(height, -1) / (num_zooms + 1)
    for row in range(2 * down + 1):
        for column in range(2 * right + 1):
            start = column * channels
            part = flat[row : row + height, start : start + width * channels]
            total = total + kernels[row, column] * part
    return total.reshape(image.shape)


def _take(
    flat: Float[Array, "pixels channels"], index: Int[Array, "height width"]
) -> Float[Array, "height width channels"]:
    return flat.at[index].get(mode="promise_in_bounds")


def _reach(size: int, factor: float) -> int:
    # The zoom moves a border pixel inward by at most half the side times 1 - 1/factor, and the
    # rounding of crop and trim by up to one pixel more; linear interpolation reads one further.
    return math.ceil(size / 2 * (1 - 1 / factor)) + 1


def _bands(size: int, factors: np.ndarray, reach: int) -> Float[Array, "zooms offsets size"]:
    matrices = jax.vmap(lambda factor: filters.zoom_matrix(size, factor))(jnp.asarray(factors))
    padded = jnp.pad(matrices, ((0, 0), (0, 0), (reach, reach)))
    index = np.arange(size)
    return jnp.stack([padded[:, index, index + offset] for offset in range(2 * reach + 1)], axis=1)

"""Blurs: Gaussian, defocus, motion and zoom; frosted glass has a file of its own.

As in the original 32-pixel script of CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019, arXiv
1903.12261).
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from noiseproof.numerics import filters, sampling
from noiseproof.types import Constant, Image

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
    gain: Constant = 1.0,
) -> Image:
    """A lens out of focus: a disk of `radius` pixels, softened; edges mirrored.

    Args:
        image: The image.
        key: Not used; nothing is random here.
        radius: Of the disk, in pixels.
        alias_sigma: Of the 3×3 Gaussian that softens it, in pixels.
        max_radius: Upper bound of `radius`, static.
        gain: Sum of the kernel; scripts that soften a disk in too small a frame exceed 1.
    """
    del key
    kernel = filters.disk_kernel(radius, alias_sigma, max_radius=max_radius)
    return filters.correlate(image, gain * kernel, border="reflect")


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


def blur_zoom(
    image: Image, key: PRNGKeyArray, *, num_zooms: Constant, step: Constant, max_num_zooms: int
) -> Image:
    """A lens that zooms: the mean of the image and its zooms by 1, 1 + `step`, 1 + 2 `step` ..."""
    del key  # nothing is random here
    height, width, _ = image.shape
    zooms = jnp.arange(max_num_zooms)
    # The script's steps come out a little long, which makes 26 pixels times 1.25 round up.
    factors = 1 + step * 1.0001 * zooms
    weights = jnp.clip(num_zooms - zooms, 0, 1) / (num_zooms + 1)

    def add(total: Array, zoom: tuple[Array, Array]) -> tuple[Array, None]:
        factor, weight = zoom
        rows, columns = (filters.zoom_matrix(size, factor) for size in (height, width))
        return total + weight * filters.separable(image, rows, columns), None

    return lax.scan(add, image / (num_zooms + 1), (factors, weights))[0]


def _take(
    flat: Float[Array, "pixels channels"], index: Int[Array, "height width"]
) -> Float[Array, "height width channels"]:
    return flat.at[index].get(mode="promise_in_bounds")

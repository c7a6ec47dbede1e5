"""Frosted glass: pixels trade places with neighbors, between two Gaussian blurs.

The script of CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261) visits pixels
from the lower right to the upper left and means to swap each with a random neighbor, but its row
views alias, so that the pixel takes the neighbor's value and the neighbor stays. MNIST-C (N. Mu
and J. Gilmer, 2019, arXiv 1906.02337) swaps truly, with a chance of one half. Offsets go from
-delta to delta - 1, another accident that is kept. With a delta of 1 and no true swap every pixel
reads one that was not visited yet, so that a whole pass is one gather. Larger deltas, of the script
for ImageNet, make chains of pixels that were visited already: they are followed by doubling.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from noiseproof.numerics import sampling
from noiseproof.numerics.filters import gaussian_blur
from noiseproof.numerics.levels import quantized
from noiseproof.types import Constant, Image

MAX_SIGMA = 1.5
"""Static bound of the sigma of `blur_glass`, in pixels: the largest of all tables."""

MAX_PASSES = 3
"""Static bound of the passes of `swap_glass`: the largest of all tables."""

NUM_DOUBLINGS = 6
"""Chains of 2^6 pixels are followed to their end; each link has a chance below one half."""

Pixels = Float[Array, "pixels channels"]


def blur_glass(
    image: Image,
    key: PRNGKeyArray,
    *,
    sigma: Constant,
    passes: Constant,
    max_passes: int,
    delta: Constant = 1,
) -> Image:
    """Frosted glass of CIFAR-10-C and ImageNet-C: a pixel takes the value of a neighbor.

    Args:
        image: The image.
        key: Draws the neighbors.
        sigma: Of both blurs, in pixels, at most `MAX_SIGMA`.
        passes: Times that all pixels are visited.
        max_passes: Upper bound of `passes`, static.
        delta: How far a neighbor is at most, in pixels.
    """
    height, width, channels = image.shape
    pixels = quantized(gaussian_blur(image, sigma, max_sigma=MAX_SIGMA)).reshape(-1, channels)
    for number, one_key in enumerate(jax.random.split(key, max_passes)):
        offset = _offsets(height, width, delta, one_key)[0] * (number < passes)
        pixels = _take(pixels, _sources(offset, delta))
    return gaussian_blur(pixels.reshape(image.shape), sigma, max_sigma=MAX_SIGMA)


def swap_glass(
    image: Image,
    key: PRNGKeyArray,
    *,
    sigma: Constant,
    delta: Constant,
    passes: Constant,
    max_sigma: float,
) -> Image:
    """Frosted glass of MNIST-C: true swaps, one pixel after another, at a chance of one half.

    Args:
        image: The image.
        key: Draws the neighbors and whether to swap.
        sigma: Of both blurs, in pixels.
        delta: How far a neighbor is at most, in pixels.
        passes: Times that all pixels are visited, at most `MAX_PASSES` where it is traced.
        max_sigma: Upper bound of `sigma`, static.
    """
    height, width, channels = image.shape
    soft = quantized(gaussian_blur(image, sigma, max_sigma=max_sigma))

    def one_pass(number: Int[Array, ""], pixels: Array) -> Array:
        offset, swaps = _offsets(height, width, delta, jax.random.fold_in(key, number))
        return _visit(pixels, offset, swaps & (number < passes))

    # Not as many as a traced number says: such a loop has no gradient.
    most = passes if isinstance(passes, int) else MAX_PASSES
    pixels = lax.fori_loop(0, most, one_pass, soft.reshape(-1, channels))
    return gaussian_blur(pixels.reshape(image.shape), sigma, max_sigma=max_sigma)


def _offsets(
    height: int, width: int, delta: Constant, key: PRNGKeyArray
) -> tuple[Int[Array, " pixels"], Bool[Array, " pixels"]]:
    """Where each pixel's neighbor is in the flat image, 0 near the border; and a fair coin."""
    bits = sampling.bits((height, width), key)
    rows, columns = np.mgrid[:height, :width]
    span = jnp.asarray(2 * delta, jnp.uint32)
    # 12 bits modulo at most 8 divide evenly for the deltas 1, 2 and 4, nearly for 3.
    down = ((bits >> 20) % span).astype(jnp.int32) - delta
    right = (((bits >> 8) & 4095) % span).astype(jnp.int32) - delta
    inside = (rows > delta) & (rows <= height - delta) & (columns > delta)
    inside = inside & (columns <= width - delta)
    offset = jnp.where(inside, down * width + right, 0)
    return offset.reshape(-1), ((bits & 1) == 1).reshape(-1)


def _sources(offset: Int[Array, " pixels"], delta: Constant) -> Int[Array, " pixels"]:
    """Where each pixel's value is from when pixels copy their neighbors in turn, the last first."""
    here = jnp.arange(len(offset))
    if isinstance(delta, int) and delta == 1:
        return here + offset  # such neighbors come later
    # A neighbor that came earlier holds what it took itself: follow these to one that took from a
    # later one.
    end = here + jnp.maximum(offset, 0)
    for _ in range(NUM_DOUBLINGS):
        end = end.at[end].get(mode="promise_in_bounds")
    return end + offset.at[end].get(mode="promise_in_bounds")


def _visit(pixels: Pixels, offset: Int[Array, " pixels"], swaps: Bool[Array, " pixels"]) -> Pixels:
    """Swaps pixels with their neighbors in turn, the last pixel first."""
    count = len(pixels)

    def swap(number: Int[Array, ""], pixels: Array) -> Array:
        here = count - 1 - number
        there = here + jnp.where(swaps[here], offset[here], 0)
        pair = jnp.stack([here, there])
        return pixels.at[pair].set(pixels[pair[::-1]], mode="promise_in_bounds")

    return lax.fori_loop(0, count, swap, pixels)


def _take(flat: Pixels, index: Int[Array, " pixels"]) -> Pixels:
    return flat.at[index].get(mode="promise_in_bounds")

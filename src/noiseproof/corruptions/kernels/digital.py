"""Coarse pixels, as Pillow's box filter makes them (CIFAR-10-C, arXiv 1903.12261)."""

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from noiseproof.numerics.filters import box_matrix, separable
from noiseproof.numerics.levels import quantized, rounded
from noiseproof.types import Constant, Image


def pixelate(image: Image, key: PRNGKeyArray, *, share: Constant) -> Image:
    """Averages the image to `share` of its side and enlarges it again, in 8 bits as Pillow does."""
    del key  # nothing is random here
    rows, columns = (box_matrix(size, jnp.floor(size * share + 1e-4)) for size in image.shape[:2])
    # Two passes with a rounding in between, columns first.
    squeezed = rounded(separable(quantized(image), jnp.eye(image.shape[0]), columns))
    return rounded(separable(squeezed, rows, jnp.eye(image.shape[1])))

"""Changes of light: brightness, contrast, saturation and fog, as in CIFAR-10-C.

The original script goes through the HSV color space for brightness and saturation; the closed
forms used here give the same images.
"""

import math

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from noiseproof.numerics.fields import plasma
from noiseproof.types import Constant, Image


def brighten(image: Image, key: PRNGKeyArray, *, shift: Constant) -> Image:
    """Raises the largest channel by `shift`, clipped, and the others in proportion."""
    del key  # nothing is random here
    value = image.max(axis=-1, keepdims=True)
    raised = (value + shift).clip(0.0, 1.0)
    # A black pixel has no proportions: it turns grey.
    black = value == 0
    return jnp.where(black, raised, image * raised / jnp.where(black, 1.0, value))


def lower_contrast(image: Image, key: PRNGKeyArray, *, factor: Constant) -> Image:
    """Pulls every channel toward its mean over the image."""
    del key  # nothing is random here
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def saturate(image: Image, key: PRNGKeyArray, *, factor: Constant, shift: Constant) -> Image:
    """Changes the saturation S of the HSV space to clip(factor · S + shift).

    Where `shift` is positive grey pixels, which have no hue, turn reddish, as in the original.
    """
    del key  # nothing is random here
    value = image.max(axis=-1, keepdims=True)
    range_ = value - image.min(axis=-1, keepdims=True)
    grey = range_ == 0
    saturation = range_ / jnp.where(value == 0, 1.0, value)
    wanted = (factor * saturation + shift).clip(0.0, 1.0)
    distance = (value - image) / jnp.where(grey, 1.0, range_)
    red = jnp.asarray([0.0, 1.0, 1.0])
    return value - value * wanted * jnp.where(grey, red, distance)


def fog(
    image: Image,
    key: PRNGKeyArray,
    *,
    density: Constant,
    decay: Constant,
    num_levels: int | None = None,
) -> Image:
    """Adds a plasma fractal of height `density` and scales the brightest point back.

    Args:
        image: The image.
        key: Draws the fractal.
        density: Height of the fog, in units of the pixel range.
        decay: How fast its details fade.
        num_levels: The fractal's side is 2^num_levels pixels; by default just enough.
    """
    height, width, _ = image.shape
    levels = math.ceil(math.log2(max(height, width))) if num_levels is None else num_levels
    brightest = image.max()
    cloud = plasma(levels, decay, height, width, key)[..., None]
    return (image + density * cloud) * brightest / (brightest + density)

"""Snow and frost, as in CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261).

Frost is procedural: the original lays a piece of one of five photographs of frost, whose license
is unclear, over the image; here a Gaussian field with the brightness, contrast, color and spectrum
of each stands in for it. It has no crystal shapes. Over 20 draws for each of 300 CIFAR-10 images
the root mean square change is within 1 percent of the photographs' at every severity; a single draw
for each scatters by 1 to 2 percent on either side.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.corruptions.kernels.blur import smear
from noiseproof.numerics import sampling
from noiseproof.numerics.fields import gaussian_field, radial_frequencies
from noiseproof.numerics.filters import separable, zoom_matrix
from noiseproof.numerics.levels import quantized, rounded
from noiseproof.types import Constant, Image

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma of red, green and blue (ITU-R BT.601)."""

# One row per photograph that the original draws from (its second and third decode to the same
# pixels): mean brightness and its spread, contrast and its spread, the power of the frequency that
# the power spectrum follows, and factors for red, green and blue; on 0 to 255.
_FROST_STYLES = np.array(
    [
        [130, 11, 14.3, 2.5, -1.02, 0.59, 1.14, 1.27],
        [204, 9, 18.3, 2.7, -0.73, 0.97, 0.99, 1.04],
        [204, 9, 18.3, 2.7, -0.73, 0.97, 0.99, 1.04],
        [157, 11, 26.1, 2.3, -0.32, 0.91, 1.01, 1.09],
        [115, 17, 33.8, 6.6, -1.08, 0.91, 1.00, 1.09],
    ],
    np.float32,
)


def snow(
    image: Image,
    key: PRNGKeyArray,
    *,
    mean: Constant,
    std: Constant,
    zoom: Constant,
    threshold: Constant,
    radius: Constant,
    sigma: Constant,
    mix: Constant,
    max_sigma: float,
) -> Image:
    """Flakes that fall in streaks, over an image that is lightened as by an overcast sky.

    Args:
        image: The image.
        key: Draws the flakes and the angle of their fall.
        mean: Of the normal numbers that become flakes.
        std: Their standard deviation.
        zoom: Size of the flakes, in pixels.
        threshold: What is below falls away.
        radius: Half the length of a streak in pixels.
        sigma: Of the weights along a streak, in pixels.
        mix: Share of the image that is not lightened.
        max_sigma: Upper bound of `sigma`, static.
    """
    flakes_key, angle_key = jax.random.split(key)
    height, width, _ = image.shape
    flakes = draw_flakes(height, width, mean, std, zoom, threshold, flakes_key)
    # Streaks point from 45 to 135 degrees, mostly downward.
    angle = sampling.uniform((), angle_key) * math.pi / 4 - math.pi / 2
    streaks = smear(flakes, angle, radius=radius, sigma=sigma, max_sigma=max_sigma)
    return lay_snow(image, streaks, mix=mix)


def draw_flakes(
    height: int,
    width: int,
    mean: Constant,
    std: Constant,
    zoom: Constant,
    threshold: Constant,
    key: PRNGKeyArray,
) -> Float[Array, "height width 1"]:
    """Flakes before they fall: what is left of normal noise above a threshold, in 8 bits."""
    flakes = mean + std * sampling.normal((height, width, 1), key)
    flakes = separable(flakes, zoom_matrix(height, zoom), zoom_matrix(width, zoom))
    return quantized(jnp.where(flakes < threshold, 0.0, flakes))


def lay_snow(image: Image, streaks: Float[Array, "height width 1"], *, mix: Constant) -> Image:
    """Lays streaks, and their image turned upside down, over the lightened image."""
    flakes = rounded(streaks)
    grey = image @ GREY_WEIGHTS[:, None] if image.shape[-1] == 3 else image
    lightened = mix * image + (1 - mix) * jnp.maximum(image, 1.5 * grey + 0.5)
    return lightened + flakes + flakes[::-1, ::-1]


def frost(
    image: Image,
    key: PRNGKeyArray,
    *,
    keep: Constant,
    add: Constant,
    steeper: Constant = 0.0,
) -> Image:
    """Frost on a window (procedural): `keep` · image + `add` · frost.

    Args:
        image: The image.
        key: Draws the style, its brightness and contrast, and the field.
        keep: Share of the image that is seen through the frost.
        add: Share of the frost.
        steeper: What the power spectrum falls faster by, as a power of the frequency.
    """
    height, width, channels = image.shape
    style_key, level_key, field_key = jax.random.split(key, 3)
    style = jnp.asarray(_FROST_STYLES)[sampling.integers(0, len(_FROST_STYLES), (), style_key)]
    level, contrast = style[0:4:2] + style[1:4:2] * sampling.normal((2,), level_key)
    crystals = level + contrast * _power_law_field(style[4] - steeper, height, width, field_key)
    colors = style[5:] if channels == 3 else (style[5:] @ GREY_WEIGHTS)[None]
    tinted = (crystals[..., None].clip(0.0, 255.0) * colors).clip(0.0, 255.0) / 255
    return keep * image + add * tinted


def _power_law_field(
    exponent: Float[Array, ""], height: int, width: int, key: PRNGKeyArray
) -> Float[Array, "height width"]:
    """Unit variance, no mean, power spectrum frequency^exponent; cut from twice the size."""
    frequencies = radial_frequencies(2 * height, 2 * width)
    amplitudes = jnp.exp(exponent / 2 * np.log(frequencies).astype(np.float32))
    amplitudes = amplitudes.at[0, 0].set(0.0)
    amplitudes = amplitudes / jnp.sqrt(jnp.mean(amplitudes**2))
    return gaussian_field(amplitudes, height, width, key)

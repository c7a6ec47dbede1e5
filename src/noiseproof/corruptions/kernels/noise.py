"""Noise that is drawn per element.

Gaussian, shot, impulse and speckle noise of CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019,
arXiv 1903.12261), and Gaussian noise of a free spectrum. Random numbers come from
`noiseproof.numerics.sampling`, which says how good they are.
"""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from noiseproof.numerics import sampling
from noiseproof.numerics.fields import spectral_field
from noiseproof.types import Constant, Image, ImageTransform


def add_gaussian_noise(image: Image, key: PRNGKeyArray, *, std: Constant) -> Image:
    """Adds independent normal noise of standard deviation `std` to every element."""
    return image + std * sampling.normal(image.shape, key)


def add_shot_noise(image: Image, key: PRNGKeyArray, *, photons: Constant) -> Image:
    """Counts photons: each element becomes Poisson(element · `photons`) / `photons`."""
    return sampling.poisson(image.clip(0.0) * photons, key) / photons


def add_impulse_noise(image: Image, key: PRNGKeyArray, *, share: Constant) -> Image:
    """Turns a `share` of all elements, channels apart, white or black with equal chance."""
    bits = sampling.bits(image.shape, key)
    # The lowest bit decides between white and black, the 24 highest whether to flip: both come of
    # one word and are independent.
    salt = (bits & 1).astype(image.dtype)
    return ((bits >> 8) < share * 2.0**24) * (salt - image) + image


def add_speckle_noise(image: Image, key: PRNGKeyArray, *, std: Constant) -> Image:
    """Adds normal noise that is proportional to the image."""
    return image + image * std * sampling.normal(image.shape, key)


def gaussian_noise(*, std: float, clip: bool = True) -> ImageTransform:
    """Gaussian noise of a free strength.

    Args:
        std: Standard deviation of the noise, in units of the pixel range [0, 1].
        clip: Whether the result is clipped to [0, 1].

    Raises:
        ValueError: `std` is negative.
    """
    if not std >= 0:
        raise ValueError(f"std must not be negative, got {std}.")

    def transform(image: Image, key: PRNGKeyArray) -> Image:
        noisy = add_gaussian_noise(image, key, std=std)
        return noisy.clip(0.0, 1.0) if clip else noisy

    return transform


def random_spectral_noise(
    *, exponents: tuple[float, float], stds: tuple[float, float], clip: bool = False
) -> ImageTransform:
    """Gaussian noise of a random spectrum and scale: every image draws both, evenly.

    The amplitude spectrum is frequency^-exponent, frequency not below half the lowest: white noise
    at 0, cloud-like shading at 2, mostly a shift of brightness at 3. Color channels draw, evenly
    too, how much of one field they share: from colored noise to shifts of brightness.

    Args:
        exponents: Least and greatest exponent of the amplitude, not the power.
        stds: Least and greatest standard deviation of a pixel over draws, in units of the pixel
            range.
        clip: Whether the result is clipped to [0, 1].

    Raises:
        ValueError: A range is not in order, or begins below zero.
    """
    for name, (low, high) in (("exponents", exponents), ("stds", stds)):
        if not 0 <= low <= high:
            raise ValueError(f"{name} must rise from 0 or more, got {low} to {high}.")

    def transform(image: Image, key: PRNGKeyArray) -> Image:
        height, width, channels = image.shape
        draw_key, *keys = jax.random.split(key, 2 + (channels if channels > 1 else 0))
        lows, highs = jnp.array((exponents, stds, (0.0, 1.0))).T
        exponent, std, shared = jax.random.uniform(draw_key, (3,), minval=lows, maxval=highs)
        common, *own = (spectral_field(exponent, height, width, one)[..., None] for one in keys)
        if own:
            fields = jnp.concatenate(own, axis=-1)
            common = jnp.sqrt(shared) * common + jnp.sqrt(1 - shared) * fields
        noisy = image + std * common
        return noisy.clip(0.0, 1.0) if clip else noisy

    return transform

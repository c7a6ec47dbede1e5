"""Noise that is drawn per element.

Gaussian, shot, impulse and speckle noise of CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019,
arXiv 1903.12261), and Gaussian noise of a free spectrum. Random numbers come from
`noiseproof.corruptions.sampling`, which says how good they are.
"""

from jaxtyping import PRNGKeyArray

from noiseproof.corruptions import sampling
from noiseproof.corruptions.severity import Constant
from noiseproof.types import Image, ImageTransform


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

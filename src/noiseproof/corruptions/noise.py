"""Noise that is drawn per element."""

import jax
from jaxtyping import PRNGKeyArray

from noiseproof.types import Image, ImageTransform


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
        noisy = image + std * jax.random.normal(key, image.shape, image.dtype)
        return noisy.clip(0.0, 1.0) if clip else noisy

    return transform

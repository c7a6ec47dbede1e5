"""What training images may be put through: those who train so see more than others."""

from collections.abc import Callable, Sequence

from noiseproof.corruptions.kernels.noise import random_spectral_noise
from noiseproof.tasks.augmix import augmix
from noiseproof.tasks.mixtures import Component
from noiseproof.tasks.outer_losses import OuterLoss


def noisy_images(outer_loss: OuterLoss) -> Sequence[Component]:
    """White Gaussian noise, up to the greatest scale of the outer loss.

    Raises:
        ValueError: The outer loss has no noise.
    """
    if not outer_loss.noise_std:
        raise ValueError("The augmentation gaussian_noise needs an outer loss with noise.")
    stds = (0.0, outer_loss.noise_std)
    noise = random_spectral_noise(exponents=(0.0, 0.0), stds=stds, clip=False)
    return [Component(1.0, noise, "gaussian_noise")]


def outer_images(outer_loss: OuterLoss) -> Sequence[Component]:
    """What the outer loss is taken on, meta-train corruptions included."""
    return outer_loss.components


def mixed_images(_outer_loss: OuterLoss) -> Sequence[Component]:
    """AugMix, see `tasks.augmix`."""
    return [Component(1.0, augmix(), "augmix")]


AUGMENTATIONS: dict[str, Callable[[OuterLoss], Sequence[Component]]] = {
    "gaussian_noise": noisy_images,
    "outer_loss": outer_images,
    "augmix": mixed_images,
}
"""Mixtures of augmented images by name: `outer_loss -> components`."""

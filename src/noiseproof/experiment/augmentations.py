"""What training images may be put through: those who train so see more than others."""

from collections.abc import Callable, Sequence
from itertools import product

import jax
from jaxtyping import PRNGKeyArray

from noiseproof.corruptions.kernels.noise import random_spectral_noise
from noiseproof.tasks.augmix import augmix
from noiseproof.tasks.flips_and_crops import flips_and_crops
from noiseproof.tasks.mixtures import Component
from noiseproof.tasks.outer_losses import OuterLoss
from noiseproof.types import Image


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


def moved_images(_outer_loss: OuterLoss) -> Sequence[Component]:
    """Flips and crops, see `tasks.flips_and_crops`."""
    return [Component(1.0, flips_and_crops, "flips_and_crops")]


AUGMENTATIONS: dict[str, Callable[[OuterLoss], Sequence[Component]]] = {
    "gaussian_noise": noisy_images,
    "outer_loss": outer_images,
    "augmix": mixed_images,
    "flips_and_crops": moved_images,
}
"""Mixtures of augmented images by name: `outer_loss -> components`."""


def one_after_another(names: Sequence[str], outer_loss: OuterLoss) -> Sequence[Component]:
    """The mixture of images that go through several augmentations, in this order; of none nothing.

    Args:
        names: Of `AUGMENTATIONS`.
        outer_loss: What some of them are taken from.

    Raises:
        ValueError: The outer loss has not what one of them needs.
    """
    mixture: Sequence[Component] = ()
    for name in names:
        after = AUGMENTATIONS[name](outer_loss)
        mixture = [followed(*pair) for pair in product(mixture, after)] if mixture else after
    return mixture


def followed(first: Component, second: Component) -> Component:
    """The images of one component, put through another."""

    def transform(image: Image, key: PRNGKeyArray) -> Image:
        first_key, second_key = jax.random.split(key)
        return second.transform(first.transform(image, first_key), second_key)

    return Component(first.weight * second.weight, transform, second.name)

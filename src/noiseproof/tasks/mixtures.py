"""What a loss averages over: clean images, corrupted ones, or a weighted mixture.

A mixture is the composition of a pool and of every batch from it: a component of weight 1/4 makes
a quarter of the images.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from noiseproof.messages import short
from noiseproof.types import Image, ImageTransform


class Component(NamedTuple):
    """One part of a mixture.

    Attributes:
        weight: Its share, relative to the other components; positive.
        transform: What is done to each image.
        name: What it is called in records.
    """

    weight: float
    transform: ImageTransform
    name: str = ""


def clean(image: Image, _key: PRNGKeyArray) -> Image:
    """The image as it is: the transform of clean images."""
    return image


def pool_sizes(
    components: Sequence[Component], num_images: int, what: str = "pool_size"
) -> tuple[int, ...]:
    """How many of so many images each component gets, in proportion to its weight.

    Args:
        components: The mixture.
        num_images: Images in all.
        what: The name of their number, for messages.

    Raises:
        ValueError: No component, a weight that is not positive, or a component that would get no
            image.
    """
    if not components:
        raise ValueError("A mixture needs at least one component, got none.")
    weights = [float(component.weight) for component in components]
    if not all(weight > 0 for weight in weights):
        raise ValueError(f"Weights of a mixture must be positive, got {short(weights)}.")
    if num_images < len(components):
        raise ValueError(f"{what} must be at least {len(components)}, got {num_images}.")
    ends = np.round(np.cumsum(shares(components)) * num_images).astype(int)
    sizes = tuple(np.diff(ends, prepend=0).tolist())
    if min(sizes) < 1:
        raise ValueError(
            f"{what} must give every component of the mixture an image, got {num_images} for "
            f"shares of {', '.join(f'{share:.3g}' for share in shares(components))}."
        )
    return sizes


def mix(
    components: Sequence[Component],
    images: Float[Array, "batch height width channels"],
    key: PRNGKeyArray,
) -> Float[Array, "batch height width channels"]:
    """Puts each component's share of the images through it, first come, first served.

    Args:
        components: The mixture.
        images: In random order, or else a component would always get the same ones.
        key: Every image has one of its own.
    """
    parts, start = [], 0
    for index, (component, size) in enumerate(
        zip(components, pool_sizes(components, len(images)), strict=True)
    ):
        keys = jax.random.split(jax.random.fold_in(key, index), size)
        parts.append(jax.vmap(component.transform)(images[start : start + size], keys))
        start += size
    return jnp.concatenate(parts)


def shares(components: Sequence[Component]) -> Float[np.ndarray, " components"]:
    """The weights, brought to a sum of 1."""
    weights = np.array([component.weight for component in components], dtype=float)
    return weights / weights.sum()

"""What the outer loss averages over: clean images, corrupted ones, or a weighted mixture.

A mixture is the composition of a pool: a component of weight 1/4 makes a quarter of its images,
so that a plain mean over the pool is the weighted mean.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import PRNGKeyArray

from noiseproof.types import Image, ImageTransform


class Component(NamedTuple):
    """One part of a mixture.

    Attributes:
        weight: Its share, relative to the other components; positive.
        transform: What is done to each image.
    """

    weight: float
    transform: ImageTransform


def clean(image: Image, _key: PRNGKeyArray) -> Image:
    """The image as it is: the transform of a clean outer loss."""
    return image


def pool_sizes(components: Sequence[Component], pool_size: int) -> tuple[int, ...]:
    """How many images of the pool each component gets, in proportion to its weight.

    Raises:
        ValueError: No component, a weight that is not positive, or fewer images than components.
    """
    if not components:
        raise ValueError("The outer loss needs at least one component, got none.")
    weights = np.array([component.weight for component in components], dtype=float)
    if not (weights > 0).all():
        raise ValueError(f"Weights of the outer loss must be positive, got {weights.tolist()}.")
    if pool_size < len(components):
        raise ValueError(f"pool_size must be at least {len(components)}, got {pool_size}.")
    ends = np.round(np.cumsum(weights) / weights.sum() * pool_size).astype(int)
    return tuple(np.diff(ends, prepend=0).tolist())

"""What a loss averages over: clean images, corrupted ones, or a weighted mixture.

A mixture is the composition of a pool and of every batch from it: a component of weight 1/4 makes
a quarter of the images. How the losses of the components become one number is a balance: their
weighted mean, or the worst of them; losses may count relative to a reference, such as what the
best rival reaches there, so that no component is served for being cheap.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from noiseproof.types import Image, ImageTransform


class Component(NamedTuple):
    """One part of a mixture.

    Attributes:
        weight: Its share, relative to the other components; positive.
        transform: What is done to each image.
        name: What it is called in records.
        reference: Loss, in nats, that its own is taken relative to; equal ones change nothing.
    """

    weight: float
    transform: ImageTransform
    name: str = ""
    reference: float = 1.0


def clean(image: Image, _key: PRNGKeyArray) -> Image:
    """The image as it is: the transform of a clean outer loss."""
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
        ValueError: No component, a weight or reference that is not positive, or a component that
            would get no image.
    """
    if not components:
        raise ValueError("A mixture needs at least one component, got none.")
    for name in ("weight", "reference"):
        values = [float(getattr(component, name)) for component in components]
        if not (np.array(values) > 0).all():
            raise ValueError(f"{name.title()}s of a mixture must be positive, got {values}.")
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


def scales(components: Sequence[Component]) -> Float[np.ndarray, " components"]:
    """What each loss is multiplied by: the mean reference over its own, so that nats stay nats."""
    references = np.array([component.reference for component in components])
    return (shares(components) * references).sum() / references


def weighted_mean(
    losses: Float[Array, " components"], weights: Float[np.ndarray, " components"]
) -> Scalar:
    """The mean over components."""
    return (losses * weights).sum()


def worst(
    losses: Float[Array, " components"], _weights: Float[np.ndarray, " components"]
) -> Scalar:
    """The greatest loss of all components; weights only compose the pool."""
    return jnp.max(losses)


BALANCES: dict[str, Callable[..., Scalar]] = {"mean": weighted_mean, "worst": worst}
"""How the losses of the components become one, by name: `(losses, weights) -> loss`."""

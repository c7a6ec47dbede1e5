"""A classifier whose images are standardized before it sees them.

Pixels in [0, 1] have a mean far from zero, which a first layer has to learn to ignore; to take
it away, and to divide by the spread, is common practice. The constants are those of clean training
images, channel by channel, and are part of the classifier.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from noiseproof.types import Model


def standardized(
    model: Model, mean: Float[Array, " channels"], std: Float[Array, " channels"]
) -> Model:
    """A classifier that sees (image - mean) / std.

    Args:
        model: The classifier.
        mean: Mean of each channel, pixels in [0, 1].
        std: Standard deviation of each channel, positive.

    Raises:
        ValueError: A channel does not vary.
    """
    if not bool((std > 0).all()):
        raise ValueError(
            f"std must be positive in every channel, got {std.tolist()}: images must differ."
        )

    def before(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda params, images, *rest: forward(params, (images - mean) / std, *rest)

    return model._replace(
        apply=before(model.apply),
        apply_dropout=model.apply_dropout and before(model.apply_dropout),
        apply_train=model.apply_train and before(model.apply_train),
        calibrate=model.calibrate and before(model.calibrate),
    )


def channel_statistics(
    images: UInt8[Array, "batch height width channels"],
) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
    """Mean and standard deviation of each channel, pixels in [0, 1]."""
    counts = jnp.stack([jnp.bincount(channel.ravel(), length=256) for channel in images.T])
    shares = counts / counts.sum(axis=1, keepdims=True)
    levels = jnp.arange(256) / 255.0
    mean = shares @ levels
    return mean, jnp.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))

"""A noisy quadratic: the smallest task, for tests and for exact meta-gradients.

The loss is half the squared distance to a target; noise, where there is any, shifts the target
of a step, so that the gradient is noisy and its mean exact.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Scalar

from noiseproof.types import Task


class QuadraticData(NamedTuple):
    """Attributes: `target`, where the training loss is least; `outer_target`, likewise outside."""

    target: Float[Array, " dimensions"]
    outer_target: Float[Array, " dimensions"]


def quadratic(*, num_dimensions: int, noise_std: float = 0.0) -> Task:
    """A task whose params are one vector and whose data are `QuadraticData`.

    Args:
        num_dimensions: Length of the vector.
        noise_std: Standard deviation of the target's shift in a training step.

    Raises:
        ValueError: `num_dimensions` is not positive or `noise_std` is negative.
    """
    if num_dimensions < 1:
        raise ValueError(f"num_dimensions must be positive, got {num_dimensions}.")
    if not noise_std >= 0:
        raise ValueError(f"noise_std must not be negative, got {noise_std}.")

    def init(key: PRNGKeyArray) -> dict[str, Float[Array, " dimensions"]]:
        return {"weight": jax.random.normal(key, (num_dimensions,))}

    def loss(params: dict, data: QuadraticData, key: PRNGKeyArray) -> Scalar:
        shift = noise_std * jax.random.normal(key, (num_dimensions,))
        return 0.5 * jnp.sum((params["weight"] - data.target - shift) ** 2)

    def meta_loss(params: dict, data: QuadraticData, _key: PRNGKeyArray) -> Scalar:
        return 0.5 * jnp.sum((params["weight"] - data.outer_target) ** 2)

    return Task(init, loss, meta_loss, lambda data, _key: data)

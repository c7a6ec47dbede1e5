"""How a learned rule's step shrinks over a run, as a function of the fraction gone by."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from noiseproof.messages import short
from noiseproof.types import Theta

LOG_SCALE = 10.0
"""One unit of theta moves the logarithm of a rate by ten."""

NUM_KNOTS = 6
SMALLEST = 0.01
"""The learned schedule starts as a cosine that stops at this value, its logarithm being learned."""


class Schedule(NamedTuple):
    """Attributes: `init`, its part of theta; `at`, `(theta, fraction in [0, 1]) -> factor`."""

    init: Callable[[], dict[str, Float[Array, " knots"]]]
    at: Callable[[Theta, Float[Array, ""]], Float[Array, ""]]


def cosine(fraction: Float[Array, "..."]) -> Float[Array, "..."]:
    """Half a cosine, from 1 to 0."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * fraction))


def between(knots: Float[Array, "... knots"], fraction: Float[Array, ""]) -> Float[Array, "..."]:
    """The values at a part of the run, linear between equally spaced knots."""
    place = fraction * (knots.shape[-1] - 1)
    nearness = jnp.maximum(0.0, 1.0 - jnp.abs(place - jnp.arange(knots.shape[-1])))
    return knots @ nearness


def learned(theta: Theta, fraction: Float[Array, ""]) -> Float[Array, ""]:
    """Piecewise linear in the logarithm, the learned knots added to those of the cosine."""
    at = jnp.linspace(0.0, 1.0, NUM_KNOTS)
    logarithm = jnp.log(jnp.maximum(cosine(at), SMALLEST)) + LOG_SCALE * theta["schedule_knots"]
    return jnp.exp(jnp.interp(fraction, at, logarithm))


SCHEDULES = {
    "cosine": Schedule(dict, lambda _theta, fraction: cosine(fraction)),
    "learned": Schedule(lambda: {"schedule_knots": jnp.zeros(NUM_KNOTS)}, learned),
}


def check_schedule(name: str) -> None:
    """Raises ValueError where no schedule has that name."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {short(name)}.")

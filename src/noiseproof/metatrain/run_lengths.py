"""How long the inner runs of meta-training are: all alike, drawn, or growing as it goes on.

A learned optimizer that has seen one length only fits that length; short runs are cheap and calm,
and long ones what it is made for. Lengths are rounded up to whole truncations and are never above
the objective's. Truncations count alike, so that a run counts in proportion to its length.

Source: growing lengths with jitter as in Metz et al., arXiv 1810.10180; log-uniform ones as in
Metz, Freeman, Harrison, Maheswaranathan, Sohl-Dickstein, arXiv 2203.11860.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

RunLength: TypeAlias = Callable[[Int[Array, ""], PRNGKeyArray], Float[Array, ""]] | None
"""`(num_estimates, key) -> inner steps` of a run that begins after so many estimates; or None, for
runs that are all as long as the objective says."""


def constant(*, num_steps: int) -> RunLength:
    """Nothing is drawn: every run has the objective's `num_steps`, which must be positive."""
    check_range(num_steps, num_steps)
    return None


def log_uniform(*, num_steps: int, shortest: int) -> RunLength:
    """Every doubling of the length is as likely as every other.

    Args:
        num_steps: The longest run.
        shortest: The shortest run.

    Raises:
        ValueError: `shortest` does not lie in [1, num_steps].
    """
    check_range(shortest, num_steps)

    def draw(_num_estimates: Int[Array, ""], key: PRNGKeyArray) -> Float[Array, ""]:
        low, high = jnp.log(jnp.array([shortest, num_steps], jnp.float32))
        return jnp.exp(jax.random.uniform(key, minval=low, maxval=high))

    return draw


def curriculum(
    *, num_steps: int, shortest: int, num_growing: int, jitter: float = 0.2
) -> RunLength:
    """From short to long in equal steps, times a uniform draw about one.

    Args:
        num_steps: The longest run, which no draw exceeds.
        shortest: The middle of the first runs' lengths.
        num_growing: Estimates over which the middle grows to `num_steps`.
        jitter: A length is the middle times a draw within one plus or minus this, in [0, 1).

    Raises:
        ValueError: `shortest` does not lie in [1, num_steps], `num_growing` is not positive, or
            `jitter` lies outside [0, 1).
    """
    check_range(shortest, num_steps)
    if num_growing < 1:
        raise ValueError(f"num_growing must be positive, got {num_growing}.")
    if not 0.0 <= jitter < 1.0:
        raise ValueError(f"jitter must lie in [0, 1), got {jitter}.")

    def draw(num_estimates: Int[Array, ""], key: PRNGKeyArray) -> Float[Array, ""]:
        progress = jnp.minimum(num_estimates / num_growing, 1.0)
        middle = shortest + progress * (num_steps - shortest)
        factor = jax.random.uniform(key, minval=1.0 - jitter, maxval=1.0 + jitter)
        return jnp.minimum(middle * factor, num_steps)

    return draw


def check_range(shortest: int, num_steps: int) -> None:
    """Raises ValueError where the shortest run is none or longer than the longest."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be positive, got {num_steps}.")
    if not 1 <= shortest <= num_steps:
        raise ValueError(f"shortest must lie in [1, {num_steps}], got {shortest}.")


RUN_LENGTHS = {"constant": constant, "log_uniform": log_uniform, "curriculum": curriculum}
"""Builders of run lengths by name."""

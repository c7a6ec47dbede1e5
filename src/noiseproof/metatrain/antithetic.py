"""Antithetic pairs: what all evolution strategies here have in common.

Two runs with theta + std·ε and theta - std·ε share their initial weights, batches and outer
images, so that the difference of their losses is due to ε alone.

Source: Salimans, Ho, Chen, Sidor, Sutskever, arXiv 1703.03864; the pairing as in Metz et al.,
arXiv 1810.10180.
"""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.inner_loop import InnerState, Losses
from noiseproof.metatrain.objective import Objective
from noiseproof.metatrain.unrolling import start_run, unroll
from noiseproof.types import Data, Theta


def check_pairs(num_pairs: int, std: float) -> None:
    """Raises ValueError where the perturbations are none."""
    if num_pairs < 1:
        raise ValueError(f"num_pairs must be positive, got {num_pairs}.")
    if not std > 0:
        raise ValueError(f"std must be positive, got {std}.")


def draw_eps(theta: Theta, key: PRNGKeyArray) -> Theta:
    """A standard normal perturbation; one draw for all leaves, which compiles in a third."""
    row, unravel = ravel_pytree(theta)
    return unravel(jax.random.normal(key, row.shape))


def twins(state: InnerState) -> InnerState:
    """A run twice, along a new first axis: above and below."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)


def start_pair(objective: Objective, theta: Theta, run_key: PRNGKeyArray) -> InnerState:
    """Two equal fresh runs along a new first axis: above and below."""
    return twins(start_run(objective, theta, run_key))


def unroll_pair(
    objective: Objective,
    theta: Theta,
    shift: Theta,
    states: InnerState,
    data: Data,
    num_steps: int,
    run_key: PRNGKeyArray,
) -> tuple[InnerState, Losses]:
    """Both runs of a pair, with theta ± shift, `num_steps` on."""
    thetas = jax.tree.map(lambda mean, move: jnp.stack([mean + move, mean - move]), theta, shift)

    def one_run(theta: Theta, state: InnerState) -> tuple[InnerState, Losses]:
        # Both runs share the key, and so their weights and batches.
        return unroll(objective, theta, state, data, num_steps, run_key)

    return inner_loop.over_runs(one_run, in_turn=objective.placement.in_turn)(thetas, states)


def pair_gradient(losses: Losses, direction: Theta, std: float) -> Theta:
    """The difference of a pair's mean losses, credited to a direction in units of std."""
    above, below = losses.weighted.mean(axis=1)
    slope = (above - below) / (2.0 * std)
    return optax.tree.scale(slope, direction)

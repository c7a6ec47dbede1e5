"""Averaging of iterates: the weights that are judged are a moving average of those trained.

Averages of the last stretch of a run lie in flatter places than its end (Polyak, Juditsky, 1992;
Izmailov et al., arXiv 1803.05407). The average is exponential, and corrected for its beginning:
after step t it has the weights decay^(t - s) for the iterates s = 1 to t, brought to a sum of one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Scalar

from noiseproof.types import Params, Recipe


class AveragedState(NamedTuple):
    """Attributes: `optimizer_state`; `average` of the weights so far; `step`s taken."""

    optimizer_state: Any
    average: Params
    step: Int[Array, ""]


def averaged(recipe: Recipe, num_steps: float | Scalar) -> Recipe:
    """The recipe with an exponential average of its weights for an answer.

    Args:
        recipe: How the weights are trained, which does not change.
        num_steps: Steps over which the weight of an iterate falls by a factor of e; 0 judges the
            last one.
    """
    rate = 1.0 / jnp.asarray(num_steps, jnp.float32)

    def init(params: Params) -> AveragedState:
        return AveragedState(recipe.optimizer.init(params), params, jnp.zeros((), jnp.int32))

    def update(
        updates: Params, state: Any, params: Params | None = None
    ) -> tuple[Params, AveragedState]:
        if params is None:
            raise ValueError("averaged needs params: call update(grads, state, params).")
        updates, optimizer_state = recipe.optimizer.update(updates, state.optimizer_state, params)
        step = state.step + 1
        # The share of the newest iterate, (1 - decay) / (1 - decay^step), where decay = e^-rate.
        share = jnp.expm1(-rate) / jnp.expm1(-rate * step)
        average = jax.tree.map(
            lambda mean, new: mean + share * (new - mean),
            state.average,
            optax.apply_updates(params, updates),
        )
        return updates, AveragedState(optimizer_state, average, step)

    def answer(_params: Params, state: AveragedState) -> Params:
        return state.average

    optimizer = optax.GradientTransformation(init, update)
    return recipe._replace(optimizer=optimizer, answer=answer)

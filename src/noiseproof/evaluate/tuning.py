"""Tuning of rivals by random search, on the very loss that theta is meta-trained on.

Trials are scored on the `outer` split over the last part of one run; the best of them are scored
again over several runs on the `select` split, and the best there is the rival (the two-stage
protocol keeps the luck of one run from choosing).
"""

import warnings
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from noiseproof import inner_loop
from noiseproof.optimizers.rivals import Rival, Values, draw, on_edge
from noiseproof.types import Data, Task

TRIALS_AT_ONCE = 16
"""Runs in one vectorized call: more gain nothing on a CPU and cost memory."""

Points: TypeAlias = dict[str, Float[Array, " points"]]
"""Values of each knob, a trial each."""


class Tuned(NamedTuple):
    """The outcome of a search.

    Attributes:
        values: The best value of each knob.
        outer_loss: Its outer loss over one run, in nats.
        select_loss: Its mean loss on the `select` split over the finalists' runs, in nats.
        num_trials: Random points tried.
        on_edge: Knobs whose best value is at the edge of their range.
    """

    values: dict[str, float]
    outer_loss: float
    select_loss: float
    num_trials: int
    on_edge: list[str]


def tune(
    task: Task,
    rival: Rival,
    data: Data,
    select_data: Data,
    key: PRNGKeyArray,
    *,
    num_steps: int,
    num_trials: int,
    num_finalists: int = 5,
    num_final_runs: int = 5,
    scored_share: float = 0.1,
) -> Tuned:
    """Searches the knobs of a rival.

    Args:
        task: The inner problem, whose meta-loss is the score.
        rival: Whose knobs are searched.
        data: The task's data with the outer split.
        select_data: The task's data with the select split in its place.
        key: Fixes the points and the runs.
        num_steps: Length of a run.
        num_trials: Random points.
        num_finalists: Points that are scored again.
        num_final_runs: Runs of each finalist.
        scored_share: The last share of a run that counts, in (0, 1].

    Raises:
        ValueError: A count is not positive, or there are fewer trials than finalists.
    """
    if not 1 <= num_finalists <= num_trials:
        raise ValueError(
            f"num_finalists must be 1 to num_trials = {num_trials}, got {num_finalists}."
        )
    if num_final_runs < 1:
        raise ValueError(f"num_final_runs must be positive, got {num_final_runs}.")
    points_key, pool_key, select_key, run_key = jax.random.split(key, 4)
    generator = np.random.default_rng(int(jax.random.bits(points_key)))
    points = jax.tree.map(jnp.asarray, draw(rival, num_trials, generator))

    def score(values: Values, data: Data, key: PRNGKeyArray) -> Scalar:
        recipe = rival.recipe(values, num_steps)
        run = inner_loop.train(task, recipe, data, num_steps, key, scored_share=scored_share)
        return jnp.where(run.diverged | ~jnp.isfinite(run.meta_loss), jnp.inf, run.meta_loss)

    @jax.jit
    def scores(
        points: Points, data: Data, keys: Key[Array, " runs"]
    ) -> Float[Array, "points runs"]:
        def runs(point: Values) -> Float[Array, " runs"]:
            return jax.vmap(lambda key: score(point, data, key))(keys)

        return jax.lax.map(runs, points, batch_size=TRIALS_AT_ONCE)

    pooled = jax.jit(task.refresh)
    first_key = jax.random.split(run_key, 1)
    outer = np.asarray(scores(points, pooled(data, pool_key), first_key))[:, 0]
    finalists = np.argsort(outer)[:num_finalists]
    chosen = {name: value[finalists] for name, value in points.items()}
    final_keys = jax.random.split(jax.random.fold_in(run_key, 1), num_final_runs)
    final = np.asarray(scores(chosen, pooled(select_data, select_key), final_keys)).mean(axis=1)
    best = int(np.argmin(final))
    values = {name: float(value[best]) for name, value in chosen.items()}
    edges = on_edge(rival, values)
    if edges:
        warnings.warn(f"the best {' and '.join(edges)} lies at the edge of its range", stacklevel=2)
    return Tuned(values, float(outer[finalists[best]]), float(final[best]), num_trials, edges)

"""Tuning of rivals by random search, on the very loss that theta is meta-trained on.

Trials are scored on the `outer` split over the window of one run, that of meta-training; the best
of them are scored again over several runs on the `select` split, and the best there is the rival
(the two-stage protocol keeps the luck of one run from choosing).
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from noiseproof import inner_loop
from noiseproof.inner_loop import Window, check_window
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import Values, draw, on_edge
from noiseproof.types import Data, Layout, Task

RUNS_AT_ONCE = {"cpu": 16}
"""Runs in one vectorized call, by platform: more gain nothing on a CPU and cost memory."""

Points: TypeAlias = dict[str, Float[np.ndarray, " points"]]
"""Values of each knob, one of each for a trial."""

Scorer: TypeAlias = Callable[[Points, Data, Key[Array, " runs"]], Float[np.ndarray, " runs"]]
"""`(points, data, keys) -> losses` of a run for every point, under the key of its place."""


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
    layout: Layout,
    num_steps: int,
    window: Window,
    in_turn: bool = False,
    num_trials: int | None = None,
    num_finalists: int = 5,
    num_final_runs: int = 5,
) -> Tuned:
    """Searches the knobs of a rival.

    Args:
        task: The inner problem, whose meta-loss is the score.
        rival: Whose knobs are searched.
        data: The task's data with the outer split.
        select_data: The task's data with the select split in its place.
        key: Fixes the points and the runs.
        layout: The roles of the classifier's tensors.
        num_steps: Length of a run.
        window: Which outer losses of a run count.
        in_turn: Whether runs go one after another, see `inner_loop.faster_in_turn`.
        num_trials: Random points; None for the rival's own number.
        num_finalists: Points that are scored again, all where there are fewer.
        num_final_runs: Runs of each finalist.

    Raises:
        ValueError: A count is not positive, or the window makes no sense.
    """
    num_trials = rival.num_trials if num_trials is None else num_trials
    check_window(window, num_steps)
    _check(num_trials, num_finalists, num_final_runs)
    points_key, pool_key, select_key, run_key = jax.random.split(key, 4)
    generator = np.random.default_rng(int(jax.random.bits(points_key)))
    points = draw(rival.knobs, num_trials, generator)
    num_finalists = min(num_finalists, num_trials)
    num_at_once = min(
        RUNS_AT_ONCE.get(jax.default_backend(), 64), max(num_trials, num_finalists * num_final_runs)
    )
    score = scorer(task, rival, layout, num_steps, num_at_once, window=window, in_turn=in_turn)
    pooled = jax.jit(task.refresh)

    first_keys = jnp.repeat(jax.random.split(run_key, 1), num_trials)
    outer = score(points, pooled(data, pool_key), first_keys)
    finalists = np.argsort(outer)[:num_finalists]
    runs = {name: np.repeat(value[finalists], num_final_runs) for name, value in points.items()}
    final_keys = jax.random.split(jax.random.fold_in(run_key, 1), num_final_runs)
    final = score(runs, pooled(select_data, select_key), jnp.tile(final_keys, num_finalists))
    final = final.reshape(num_finalists, num_final_runs).mean(axis=1)

    best = int(np.argmin(final))
    values = {name: float(value[finalists[best]]) for name, value in points.items()}
    edges = on_edge(rival.knobs, values)
    if edges:
        warnings.warn(f"the best {' and '.join(edges)} lies at the edge of its range", stacklevel=2)
    return Tuned(values, float(outer[finalists[best]]), float(final[best]), num_trials, edges)


def scorer(
    task: Task,
    rival: Rival,
    layout: Layout,
    num_steps: int,
    num_at_once: int,
    *,
    window: Window,
    in_turn: bool = False,
) -> Scorer:
    """What scores runs, so many at once: memory does not grow with trials, and one program serves
    all. A diverged run scores infinity.
    """

    def score(data: Data, values: Values, key: PRNGKeyArray) -> Scalar:
        recipe = rival.recipe(values, num_steps, layout)
        return inner_loop.score(task, recipe, data, num_steps, key, window=window)

    @jax.jit
    def all_scores(data: Data, values: Any, keys: Key[Array, " runs"]) -> Float[Array, " runs"]:
        return inner_loop.over_runs(partial(score, data), in_turn=in_turn)(values, keys)

    def scores(points: Points, data: Data, keys: Key[Array, " runs"]) -> Float[np.ndarray, " runs"]:
        found = []
        for start in range(0, len(keys), num_at_once):
            # The last call is filled up from the beginning.
            index = np.arange(start, start + num_at_once) % len(keys)
            chosen = {name: jnp.asarray(value[index]) for name, value in points.items()}
            found.append(np.asarray(all_scores(data, chosen, keys[index])))
        return np.concatenate(found)[: len(keys)]

    return scores


def _check(*counts: int) -> None:
    names = ("num_trials", "num_finalists", "num_final_runs")
    for name, count in zip(names, counts, strict=True):
        if count < 1:
            raise ValueError(f"{name} must be positive, got {count}.")

"""What points of a rival's knobs, and thetas, are worth: the loss of runs on pools that all share.

Within one experiment all are scored on the same pools of images and the same inner seeds, of each
as many as a trial has runs, since two pools differ by more than most rivals do.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from noiseproof import inner_loop
from noiseproof.inner_loop import Window
from noiseproof.metatrain.sharding import Placement, over_runs, replicate, spread
from noiseproof.numerics.compiling import quickly_compiled
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import Values
from noiseproof.types import Data, Layout, Recipe, Task

STACKED_AT_ONCE, IN_TURN_AT_ONCE = 16, 8
"""Points of a round: more gain no speed on a CPU, cost memory, and are asked knowing less."""

RANDOM_SHARE = 4
"""One trial of so many is random, the first ones, but at least a round."""


class TunedOn(NamedTuple):
    """What searches of one experiment share.

    Attributes:
        task: The inner problem, whose meta-loss is the score.
        data: The task's data with the outer split.
        select_data: The task's data with the select split in its place.
        layout: The roles of the classifier's tensors.
        num_steps: Length of a run.
        window: Which outer losses of a run count.
        placement: Where the runs of a call are computed.
    """

    task: Task
    data: Data
    select_data: Data
    layout: Layout
    num_steps: int
    window: Window
    placement: Placement = Placement()


Draws: TypeAlias = Sequence[tuple[Data, PRNGKeyArray]]
"""Pools of images, each with the key of the runs on it."""

Scorer: TypeAlias = Callable[[Sequence[Values], Draws], Float[np.ndarray, "points draws"]]
"""`(points, draws) -> losses` of one run for every point on every pool."""


def drawn(problem: TunedOn, data: Data, num_runs: int, key: PRNGKeyArray) -> Draws:
    """For each run of a point a pool of its own and a key of its own, the same for all points."""
    refresh = quickly_compiled(problem.task.refresh)
    keys = [jax.random.split(own) for own in jax.random.split(key, num_runs)]
    return [(refresh(data, pool_key), run_key) for pool_key, run_key in keys]


def on_mesh(draws: Draws, mesh: Mesh | None) -> Draws:
    """The same draws where the runs on them are computed."""
    return [(replicate(pool, mesh), run_key) for pool, run_key in draws]


def outer_loss(problem: TunedOn, recipe: Recipe, num_runs: int, key: PRNGKeyArray) -> float:
    """The mean outer loss of a recipe without knobs, on the pools and seeds of the searches.

    Args:
        problem: What rivals are tuned on.
        recipe: Such as that of a theta.
        num_runs: Runs of a trial.
        key: Of the experiment, as in `tune`.
    """
    key = jax.random.fold_in(key, 0)
    return float(run_losses(recipe, problem, problem.data, num_runs, key).mean())


def run_losses(
    recipe: Recipe, problem: TunedOn, data: Data, num_runs: int, key: PRNGKeyArray
) -> Float[np.ndarray, " num_runs"]:
    """The loss of a recipe without knobs on every pool of `drawn`, all in one call."""
    placement = placed(problem, num_runs).placement

    def one(_: None, draw: tuple[Data, PRNGKeyArray]) -> Scalar:
        return loss_of_run(recipe, problem, *draw)

    def stacked() -> tuple[Data, Key[Array, " num_runs"]]:
        draws = drawn(problem, data, num_runs, key)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *draws)

    # Compiled before the draws, which another thread may be compiling for a search.
    program = jax.jit(over_runs(one, num_runs, placement)).lower(None, jax.eval_shape(stacked))
    return np.asarray(program.compile()(None, stacked()))


def placed(problem: TunedOn, num_runs: int) -> TunedOn:
    """The problem with so many runs spread over as many of its devices as they fill evenly."""
    if problem.placement.mesh is None:
        return problem
    return problem._replace(placement=spread(problem.placement, num_runs))


def loss_of_run(recipe: Recipe, problem: TunedOn, data: Data, key: PRNGKeyArray) -> Scalar:
    """The loss of one run on a pool; infinite where it diverged."""
    return inner_loop.score(
        problem.task, recipe, data, problem.num_steps, key, window=problem.window
    )


def points_at_once(num_trials: int, *, in_turn: bool) -> int:
    """Points of a round and of a call of the program; where twice as many would leave few rounds,
    a share of all, so that most are asked knowing some."""
    usual = IN_TURN_AT_ONCE if in_turn else STACKED_AT_ONCE
    if jax.default_backend() == "cpu":
        return min(usual, num_trials)
    return min(2 * usual, max(num_trials // RANDOM_SHARE, 1))


def scorer(problem: TunedOn, rival: Rival, num_at_once: int, pools: Sequence[Draws]) -> Scorer:
    """What scores points, so many at once: memory does not grow with trials, and one program serves
    all. Since all runs on a pool share their key, so do they their images, which are gathered once.
    A GPU has room for the runs on all pools at once.

    Args:
        problem: What is trained.
        rival: Whose points they are.
        num_at_once: Points of a call.
        pools: All draws that points are scored on; programs are compiled for them here.
    """
    stacks = jax.default_backend() != "cpu"

    def score(shared: tuple[Data, PRNGKeyArray], values: Values) -> Scalar:
        recipe = rival.recipe(values, problem.num_steps, problem.layout)
        return loss_of_run(recipe, problem, *shared)

    def on_one(draw: tuple[Data, PRNGKeyArray], values: Any) -> Float[Array, " points"]:
        return over_runs(score, num_at_once, problem.placement)(draw, values)

    program = jax.jit(jax.vmap(on_one, in_axes=(0, None)) if stacks else on_one)

    def calls(draws: Draws) -> Sequence[Any]:
        return [jax.tree.map(lambda *leaves: jnp.stack(leaves), *draws)] if stacks else draws

    def in_arrays(points: Sequence[Values]) -> dict[str, Array]:
        return {name: jnp.array([float(one[name]) for one in points]) for name in rival.knobs}

    some = in_arrays([dict.fromkeys(rival.knobs, 1.0)] * num_at_once)
    kinds = {shapes(calls(draws)[0]): draws for draws in pools}
    compiled = {
        kind: program.lower(calls(draws)[0], some).compile() for kind, draws in kinds.items()
    }

    def scores(points: Sequence[Values], draws: Draws) -> Float[np.ndarray, "points draws"]:
        shared, found = calls(draws), []
        losses_of = compiled[shapes(shared[0])]
        for begin in range(0, len(points), num_at_once):
            # The last call is filled up from the beginning.
            chosen = [points[(begin + at) % len(points)] for at in range(num_at_once)]
            values = in_arrays(chosen)
            losses = [np.asarray(losses_of(one, values)) for one in shared]
            found.append(losses[0] if stacks else np.stack(losses))
        return np.concatenate(found, axis=1)[:, : len(points)].T

    return scores


def shapes(tree: Any) -> tuple[tuple[int, ...], ...]:
    """Of a pytree's arrays: draws alike in them share a program, splits may differ in size."""
    return tuple(leaf.shape for leaf in jax.tree.leaves(tree))

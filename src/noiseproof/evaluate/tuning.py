"""Tuning of rivals, on the very loss that theta is meta-trained on, all by the same draws.

Within one experiment all rivals are scored on the same pools of images and the same inner seeds,
of each as many as a trial has runs, since two pools differ by more than most rivals do. Points are
scored on the `outer` split over the window of a run, that of meta-training; the best of them, and
the best of each rival that this one contains, are scored again on fresh pools of the `select` split
under fresh seeds, and the best there is the rival (the two-stage protocol keeps the luck of few
runs from choosing).
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from noiseproof import inner_loop
from noiseproof.corruptions.keys import name_key
from noiseproof.evaluate.search import Trial, promising_points, random_points
from noiseproof.inner_loop import Window, check_window
from noiseproof.metatrain.sharding import Placement, over_runs, replicate, spread
from noiseproof.numerics.compiling import quickly_compiled
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import Knobs, Values, check_knobs, on_edge, wide_enough
from noiseproof.rivals.ranges import Points
from noiseproof.types import Data, Layout, Recipe, Task

STACKED_AT_ONCE, IN_TURN_AT_ONCE = 16, 8
"""Points of a round: more gain no speed on a CPU, cost memory, and are asked knowing less."""

RANDOM_SHARE = 4
"""One trial of so many is random, the first ones, but at least a round."""

LONGEST = 1.25
"""A search whose best point lies on an edge goes on to this multiple of its trials."""


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


class Budget(NamedTuple):
    """How long a search is.

    Attributes:
        num_trials: Points that are tried.
        num_runs: Runs of each, one on each pool under a seed of its own.
        num_finalists: Points that are scored again, all where there are fewer.
        num_final_runs: Runs of each finalist.
    """

    num_trials: int
    num_runs: int = 4
    num_finalists: int = 8
    num_final_runs: int = 8


class Tuned(NamedTuple):
    """The outcome of a search.

    Attributes:
        values: The best value of each knob.
        outer_loss: Its mean outer loss over the runs of a trial, in nats.
        final_losses: Its loss on the `select` split in each of the finalists' runs, in nats.
        points: Values of each knob of all trials, in the order asked.
        outer_losses: Their mean outer losses; infinite where a run diverged.
        rounds: The round in which each was asked: 0 of random ones.
        on_edge: Knobs whose best value is at the edge of their range.
    """

    values: dict[str, float]
    outer_loss: float
    final_losses: list[float]
    points: dict[str, list[float]]
    outer_losses: list[float]
    rounds: list[int]
    on_edge: list[str]

    @property
    def num_trials(self) -> int:
        """Points tried."""
        return len(self.outer_losses)

    @property
    def select_loss(self) -> float:
        """Mean loss on the `select` split, in nats."""
        return float(np.mean(self.final_losses))

    def best(self, num_points: int) -> list[Trial]:
        """The chosen point and the best of the others."""
        order = np.argsort(self.outer_losses, kind="stable")[:num_points]
        rest = [self.trial(int(place)) for place in order]
        chosen = Trial(self.values, self.outer_loss)
        return [chosen, *(trial for trial in rest if trial.values != self.values)]

    def trial(self, place: int) -> Trial:
        """A trial by its place in the order asked."""
        values = {name: column[place] for name, column in self.points.items()}
        return Trial(values, self.outer_losses[place])


class Start(NamedTuple):
    """What a search begins from, beside its random points.

    Attributes:
        known: The best points of rivals that this one contains, as its own, whose losses are known
            since they train alike under the same draws; the first is always a finalist.
        worth_a_trial: Points that are tried after the random ones.
    """

    known: Sequence[Sequence[Trial]] = ()
    worth_a_trial: Sequence[Values] = ()


NOTHING_KNOWN = Start()

NUM_KNOWN = 5
"""Points that a search takes over from each one that it contains."""


def start_from(contains: Points, resembles: Points, found: Mapping[str, Tuned]) -> Start:
    """What a search begins from, of those that were finished.

    Args:
        contains: How the points of other searches are points of this one, by their name.
        resembles: Those whose chosen points are worth a trial, likewise.
        found: What was found so far.
    """
    known = [
        [Trial(translate(one.values), one.outer_loss) for one in found[name].best(NUM_KNOWN)]
        for name, translate in contains.items()
        if name in found
    ]
    return Start(
        known, [resembles[name](found[name].values) for name in resembles if name in found]
    )


Draws: TypeAlias = Sequence[tuple[Data, PRNGKeyArray]]
"""Pools of images, each with the key of the runs on it."""

Scorer: TypeAlias = Callable[[Sequence[Values], Draws], Float[np.ndarray, "points draws"]]
"""`(points, draws) -> losses` of one run for every point on every pool."""


def tune(
    problem: TunedOn,
    rival: Rival,
    budget: Budget,
    key: PRNGKeyArray,
    *,
    name: str,
    start: Start = NOTHING_KNOWN,
    on_runs: Callable[[int, int], None] = lambda _done, _total: None,
) -> Tuned:
    """Searches the knobs of a rival.

    Args:
        problem: What it is tuned on.
        rival: Whose knobs are searched.
        budget: How long.
        key: Of the experiment: fixes pools and runs, the same for all rivals, and with the name
            the points.
        name: Of the search.
        start: What it begins from.
        on_runs: `(done, total)`, called as runs are done; the total is a forecast.

    Raises:
        ValueError: A count is not positive, or a range or the window makes no sense.
    """
    check_window(problem.window, problem.num_steps)
    check_budget(budget)
    check_knobs(rival.knobs)
    at_once = points_at_once(budget.num_trials, in_turn=problem.placement.in_turn)
    problem = placed(problem, at_once)
    score = counted(scorer(problem, rival.recipe, at_once), budget, on_runs)
    draws = drawn(problem, problem.data, budget.num_runs, jax.random.fold_in(key, 0))
    knobs, tried, rounds = all_trials(
        rival.knobs,
        lambda points: score(points, draws).mean(axis=1).tolist(),
        budget.num_trials,
        at_once,
        start,
        int(jax.random.bits(jax.random.fold_in(name_key(name, key), 2))) // 2,
    )
    finalists = chosen_finalists(tried, start, budget.num_finalists)
    fresh = drawn(problem, problem.select_data, budget.num_final_runs, jax.random.fold_in(key, 1))
    final = score([one.values for one in finalists], fresh)
    place = int(np.argmin(final.mean(axis=1)))
    best = finalists[place]
    edges = on_edge(knobs, best.values)
    if edges:
        warnings.warn(f"the best {' and '.join(edges)} lies at the edge of its range", stacklevel=2)
    return Tuned(
        values={knob: float(value) for knob, value in best.values.items()},
        outer_loss=best.outer_loss,
        final_losses=final[place].tolist(),
        points={knob: [float(one.values[knob]) for one in tried] for knob in rival.knobs},
        outer_losses=[one.outer_loss for one in tried],
        rounds=rounds,
        on_edge=edges,
    )


def all_trials(
    knobs: Knobs,
    losses_of: Callable[[Sequence[Values]], Sequence[float]],
    num_trials: int,
    at_once: int,
    start: Start,
    seed: int,
) -> tuple[Knobs, list[Trial], list[int]]:
    """Tries points round by round; ranges on whose edge the best point lies are widened.

    Returns:
        The ranges in the end, the trials in the order asked, and their rounds.
    """
    known = [trial for trials in start.known for trial in trials]
    for trial in known:
        knobs = wide_enough(knobs, trial.values)
    tried: list[Trial] = []
    rounds: list[int] = []

    def go_on(points: Sequence[Values], number: int) -> None:
        losses = losses_of(points)
        tried.extend(Trial(*pair) for pair in zip(points, losses, strict=True))
        rounds.extend([number] * len(points))

    num_random = min(max(at_once, num_trials // RANDOM_SHARE), num_trials)
    go_on(random_points(knobs, num_random, seed), 0)
    worth = list(start.worth_a_trial)[: num_trials - num_random]
    number = 0
    while True:
        best = min((*tried, *known), key=lambda trial: trial.outer_loss)
        wider = wide_enough(knobs, best.values)
        limit = num_trials if wider == knobs else int(LONGEST * num_trials)
        num_points = min(at_once, max(num_trials - len(tried), limit - len(tried)))
        if num_points <= 0:
            return knobs, tried, rounds
        knobs, number = wider, number + 1
        points, worth = worth[:num_points], worth[num_points:]
        num_asked = num_points - len(points)
        points += promising_points(knobs, (*tried, *known), num_asked, seed + number)
        go_on(points, number)


def chosen_finalists(tried: Sequence[Trial], start: Start, num_finalists: int) -> list[Trial]:
    """The chosen points of what is contained, and the best of all that is known.

    There are `num_finalists` in all, and at least half as many of the second kind.
    """
    winners = [trials[0] for trials in start.known if trials]
    known = [trial for trials in start.known for trial in trials[1:]]
    best = sorted((*tried, *known), key=lambda trial: trial.outer_loss)
    others = [trial for trial in best if trial not in winners]
    return winners + others[: max(num_finalists - len(winners), num_finalists // 2)]


def drawn(problem: TunedOn, data: Data, num_runs: int, key: PRNGKeyArray) -> Draws:
    """For each run of a point a pool of its own and a key of its own, the same for all points."""
    refresh = quickly_compiled(problem.task.refresh)
    keys = [jax.random.split(own) for own in jax.random.split(key, num_runs)]
    mesh = problem.placement.mesh
    return [(replicate(refresh(data, pool_key), mesh), run_key) for pool_key, run_key in keys]


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
        draws = drawn(problem._replace(placement=Placement()), data, num_runs, key)
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


def scorer(
    problem: TunedOn, recipe_of: Callable[[Values, int, Layout], Recipe], num_at_once: int
) -> Scorer:
    """What scores points, so many at once: memory does not grow with trials, and one program serves
    all. Since all runs on a pool share their key, so do they their images, which are gathered once.
    A GPU has room for the runs on all pools at once.
    """
    stacks_draws = jax.default_backend() != "cpu"

    def score(shared: tuple[Data, PRNGKeyArray], values: Values) -> Scalar:
        return loss_of_run(recipe_of(values, problem.num_steps, problem.layout), problem, *shared)

    def on_one(draw: tuple[Data, PRNGKeyArray], values: Any) -> Float[Array, " points"]:
        return over_runs(score, num_at_once, problem.placement)(draw, values)

    on_all = jax.jit(jax.vmap(on_one, in_axes=(0, None)))
    in_turn = jax.jit(on_one)

    def scores(points: Sequence[Values], draws: Draws) -> Float[np.ndarray, "points draws"]:
        found = []
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *draws) if stacks_draws else None
        for begin in range(0, len(points), num_at_once):
            # The last call is filled up from the beginning.
            chosen = [points[(begin + at) % len(points)] for at in range(num_at_once)]
            values = {
                name: jnp.array([float(values[name]) for values in chosen]) for name in chosen[0]
            }
            if stacked is None:
                found.append(np.stack([np.asarray(in_turn(draw, values)) for draw in draws]))
            else:
                found.append(np.asarray(on_all(stacked, values)))
        return np.concatenate(found, axis=1)[:, : len(points)].T

    return scores


def counted(score: Scorer, budget: Budget, on_runs: Callable[[int, int], None]) -> Scorer:
    """The same scorer, which tells how many runs it has done, of as many as a search has."""
    num_trial_runs = budget.num_trials * budget.num_runs
    total, done = num_trial_runs + budget.num_finalists * budget.num_final_runs, 0
    on_runs(done, total)

    def scores(points: Sequence[Values], draws: Draws) -> Float[np.ndarray, "points draws"]:
        nonlocal done
        losses = score(points, draws)
        done += losses.size
        on_runs(done, max(done, total))
        return losses

    return scores


def check_budget(budget: Budget) -> None:
    """Raises ValueError where a count is not positive."""
    for name, count in budget._asdict().items():
        if count < 1 or not math.isfinite(count):
            raise ValueError(f"{name} must be positive, got {count}.")

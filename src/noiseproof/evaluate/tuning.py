"""Tuning of rivals, on the very loss that theta is meta-trained on, all by the same draws.

Points are scored on the `outer` split over the window of a run, that of meta-training; the best of
them, and the best of each rival that this one contains, are scored again on fresh pools of the
`select` split under fresh seeds, and the best there is the rival (the two-stage protocol keeps the
luck of few runs from choosing).
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, PRNGKeyArray

from noiseproof.corruptions.keys import name_key
from noiseproof.evaluate.scoring import (
    RANDOM_SHARE,
    Draws,
    Scorer,
    TunedOn,
    drawn,
    on_mesh,
    placed,
    points_at_once,
    scorer,
)
from noiseproof.evaluate.search import Trial, promising_points, random_points
from noiseproof.inner_loop import check_window
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import Knobs, Values, check_knobs, on_edge, wide_enough
from noiseproof.rivals.ranges import Points

LONGEST = 1.25
"""A search whose best point lies on an edge goes on to this multiple of its trials."""


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


class Prepared(NamedTuple):
    """A search that can begin.

    Attributes:
        at_once: Points of a round.
        score: Scores points on draws; its program is compiled.
        trials: What points are scored on, one draw for each run of a trial.
        finals: Likewise of finalists.
    """

    at_once: int
    score: Scorer
    trials: Draws
    finals: Draws


Pools: TypeAlias = Callable[[Mesh | None], tuple[Draws, Draws]]
"""The draws of trials and those of finalists, on the devices where runs are computed."""


def all_drawn(
    problem: TunedOn, budget: Budget, mesh: Mesh | None, key: PRNGKeyArray
) -> tuple[Draws, Draws]:
    """What all searches of an experiment share; see `Pools`."""
    keys = [jax.random.fold_in(key, fold) for fold in (0, 1)]
    trials = drawn(problem, problem.data, budget.num_runs, keys[0])
    finals = drawn(problem, problem.select_data, budget.num_final_runs, keys[1])
    return on_mesh(trials, mesh), on_mesh(finals, mesh)


def prepare(problem: TunedOn, rival: Rival, budget: Budget, pools: Pools) -> Prepared:
    """Compiles what a search needs.

    Args:
        problem: What the rival is tuned on.
        rival: Whose knobs are searched.
        budget: How long.
        pools: Such as `all_drawn` makes.

    Raises:
        ValueError: A count is not positive, or a range or the window makes no sense.
    """
    check_window(problem.window, problem.num_steps)
    check_budget(budget)
    check_knobs(rival.knobs)
    at_once = points_at_once(budget.num_trials, in_turn=problem.placement.in_turn)
    problem = placed(problem, at_once)
    trials, finals = pools(problem.placement.mesh)
    return Prepared(at_once, scorer(problem, rival, at_once, (trials, finals)), trials, finals)


def tune(
    problem: TunedOn,
    rival: Rival,
    budget: Budget,
    key: PRNGKeyArray,
    *,
    name: str,
    start: Start = NOTHING_KNOWN,
    prepared: Prepared | None = None,
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
        prepared: What `prepare` made of the same; None to do it here.
        on_runs: `(done, total)`, called as runs are done; the total is a forecast.

    Raises:
        ValueError: A count is not positive, or a range or the window makes no sense.
    """
    check_budget(budget)
    pools = partial(all_drawn, problem, budget, key=key)
    ready = prepared or prepare(problem, rival, budget, pools)
    score = counted(ready.score, budget, on_runs)
    knobs, tried, rounds = all_trials(
        rival.knobs,
        lambda points: score(points, ready.trials).mean(axis=1).tolist(),
        budget.num_trials,
        ready.at_once,
        start,
        int(jax.random.bits(jax.random.fold_in(name_key(name, key), 2))) // 2,
    )
    finalists = chosen_finalists(tried, start, budget.num_finalists)
    final = score([one.values for one in finalists], ready.finals)
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
        num_points = min(at_once, limit - len(tried))
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


def counted(score: Scorer, budget: Budget, on_runs: Callable[[int, int], None]) -> Scorer:
    """The same scorer, which tells how many runs it has done, of as many as a search has."""
    num_trial_runs = budget.num_trials * budget.num_runs
    num_finalists = min(budget.num_finalists, budget.num_trials)
    total, done = num_trial_runs + num_finalists * budget.num_final_runs, 0
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

"""What tuning costs: the loss that a search is expected to have found after so many trials.

The trials of one round were asked before any of their losses was known, and random ones knew of
none, so that within a round any order is as likely as another; rounds stand in their order. The
best so far is averaged over all these orders, exactly, by the chance that each trial is the least
of those drawn. A search also knows the best points of rivals that it contains: their trials are
not counted, which favors the rival, and their losses are no part of the curve.
"""

import math

import numpy as np
from jaxtyping import Float, Int

from noiseproof.results.schema import Record, TuningCost
from noiseproof.results.statistics import paired_test

ROUNDING = 1e-3
"""Nats by which the same training may end apart for the order of its sums."""

LEVEL = 0.05
"""The chance that the nested check of a record fails where nothing is wrong."""


def expected_best(
    losses: Float[np.ndarray, " trials"], rounds: Int[np.ndarray, " trials"]
) -> Float[np.ndarray, " trials"]:
    """The expected least loss of the first 1, 2, 3, ... trials, over all orders within rounds.

    Args:
        losses: In the order asked, finite.
        rounds: Of each.
    """
    best, curve = math.inf, []
    for number in dict.fromkeys(rounds.tolist()):
        own = np.sort(losses[rounds == number])
        at_best = np.minimum(own, best)
        size = len(own)
        for drawn in range(1, size + 1):
            # The chance that the i-th least is the least of those drawn without replacement.
            place = np.arange(size - drawn + 1)
            factors = (size - drawn - place[:-1]) / (size - 1.0 - place[:-1])
            chances = drawn / size * np.cumprod(np.concatenate([[1.0], factors]))
            curve.append(float(chances @ at_best[: len(place)]))
        best = min(best, own[0])
    return np.array(curve)


def trial_curve(record: Record, place: int) -> Float[np.ndarray, " trials"]:
    """The expected best outer loss of an optimizer's search after each trial, in nats; empty where
    there was none. A diverged trial counts as 1.5 times the loss of guessing.
    """
    if record.trials is None:
        return np.zeros(0)
    losses, rounds = record.trials.trial_loss[place], record.trials.trial_round[place]
    tried = rounds >= 0
    worst = 1.5 * math.log(record.run.num_classes)
    known = np.minimum(losses[tried].astype(np.float64), worst)
    return expected_best(known, rounds[tried].astype(np.int64))


def trials_to_reach(curve: Float[np.ndarray, " trials"], loss: float) -> int | None:
    """The first number of trials after which the expected best is at most a loss; None if none."""
    reached = np.flatnonzero(curve <= loss)
    return int(reached[0]) + 1 if reached.size else None


def tuning_costs(record: Record) -> dict[str, TuningCost]:
    """By hand-designed rival, how many trials it takes on average to reach the learned optimizer.

    A rival that contains others has reached it where one of those has, since every point of theirs
    is one of its own. Empty where the record does not hold the trials.
    """
    learned, *others = record.run.optimizers
    level = learned.outer_loss
    if level is None:
        return {}
    curves = {
        entry.name: trial_curve(record, place)
        for place, entry in enumerate(others, 1)
        if entry.kind == "hand"
    }
    contains = {entry.name: entry.contains for entry in others}

    def fewest(name: str) -> int | None:
        own = trials_to_reach(curves.get(name, np.zeros(0)), level)
        reached = [own, *map(fewest, contains.get(name, ()))]
        return min((number for number in reached if number is not None), default=None)

    return {
        name: TuningCost(fewest(name), len(curve), float(curve[-1]), level)
        for name, curve in curves.items()
        if curve.size
    }


def nested_violations(record: Record) -> list[str]:
    """Where a rival ended worse than one that it contains, in words; empty is as it must be.

    Both were judged in the same final runs. A rival is worse where the mean of the paired
    differences of its losses is above zero by more than `ROUNDING`, and by so many standard errors
    that the chance of it is below 5%, divided by the number of pairs of the record (a one-sided
    paired t test after Bonferroni): that is the noise of the finalists' scores.
    """
    if record.trials is None:
        return []
    places = {entry.name: place for place, entry in enumerate(record.run.optimizers)}
    pairs = [
        (entry.name, other)
        for entry in record.run.optimizers
        for other in entry.contains
        if other in places
    ]
    found = []
    for name, other in pairs:
        ours, theirs = (
            record.trials.final_loss[places[one]].astype(np.float64) for one in (name, other)
        )
        known = ~(np.isnan(ours) | np.isnan(theirs))
        ours, theirs = ours[known], theirs[known]
        if not np.isfinite(theirs).all() or not ours.size:
            continue
        if np.isfinite(ours).all():
            test = paired_test(ours, theirs)
            excess, chance = test.interval.mean, test.p_value / 2
        else:
            excess, chance = math.inf, 0.0
        if excess > ROUNDING and (len(ours) == 1 or chance < LEVEL / len(pairs)):
            found.append(f"{name} ended {excess:.4f} nats worse than {other}, which it contains")
    return found

"""The search of a rival's knobs: which points are tried next, given the losses of all so far.

First come random points, then a tree-structured Parzen estimator over all knobs jointly (Bergstra
et al., 2011, NeurIPS; Optuna's), which takes switches and knobs that may be off as they are,
learns from points that others tried, and from a few dozen trials on; an evolution strategy such as
CMA-ES knows no switches and needs more. Points are asked in rounds that fill the vectorized
program; those of a round, whose losses nobody knows yet, count as bad ones while it is asked
(the constant liar; Ginsbourger et al., 2010), so that they differ from each other.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from noiseproof.extras import library
from noiseproof.rivals.knobs import Knobs, Switch, Values, place_of, value_at


class Trial(NamedTuple):
    """A point that was tried.

    Attributes:
        values: A value for each knob.
        outer_loss: Its mean outer loss over the runs of a trial, in nats; infinite where one
            diverged.
    """

    values: Values
    outer_loss: float


def estimators() -> Any:
    """The package that the estimator is from.

    Raises:
        ValueError: It is not installed.
    """
    return library("optuna", "The tuning of rivals")


def random_points(knobs: Knobs, num_points: int, seed: int) -> list[Values]:
    """Points at uniform places, each drawn apart from all others."""
    places = np.random.default_rng(seed).uniform(size=(num_points, len(knobs)))
    return [
        {
            name: value_at(knob, place)
            for (name, knob), place in zip(knobs.items(), row, strict=True)
        }
        for row in places.tolist()
    ]


def promising_points(
    knobs: Knobs, known: Sequence[Trial], num_points: int, seed: int
) -> list[Values]:
    """Points where the estimator expects losses below those that are known.

    Args:
        knobs: Their ranges; values that lie beyond count as at the end.
        known: What was tried.
        num_points: Of the round.
        seed: Fixes all draws.

    Raises:
        ValueError: Optuna is not installed.
    """
    optuna = estimators()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {
        name: optuna.distributions.CategoricalDistribution((0.0, 1.0))
        if isinstance(knob, Switch)
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for name, knob in knobs.items()
    }
    with warnings.catch_warnings():
        # Of options that it calls experimental.
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=1, multivariate=True, constant_liar=True, seed=seed
        )
        study = optuna.create_study(sampler=sampler)
        for trial in known:
            places = {
                name: place_of(knob, float(trial.values[name])) for name, knob in knobs.items()
            }
            study.add_trial(
                optuna.trial.create_trial(
                    params=places, distributions=distributions, value=trial.outer_loss
                )
            )
        asked = [study.ask(distributions).params for _ in range(num_points)]
    return [
        {name: value_at(knob, params[name]) for name, knob in knobs.items()} for params in asked
    ]

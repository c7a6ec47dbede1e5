"""Hand-designed rivals: recipes with the ranges that their random search covers.

Every rival's learning rate follows a constant or a cosine schedule, which is a knob like any
other. Values are arrays, so that the trials of a search are an axis of `jax.vmap`. Ranges are
wide, so that the best point is not on an edge; `evaluate.tuning` warns where it is.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike, Float, Scalar

from noiseproof.optimizers.schedules import cosine
from noiseproof.types import Recipe

Values: TypeAlias = Mapping[str, float | Scalar]
"""A value for each knob of a rival."""


class LogUniform(NamedTuple):
    """A range whose logarithm is uniform. Attributes: `low` and `high`, positive."""

    low: float
    high: float


class Switch(NamedTuple):
    """A knob that is off (0) or on (1)."""


class Rival(NamedTuple):
    """A hand-designed way to train a classifier.

    Attributes:
        knobs: Range of each knob.
        recipe: `(values, num_steps) -> Recipe`; values may be traced.
    """

    knobs: Mapping[str, LogUniform | Switch]
    recipe: Callable[[Values, int], Recipe]


def draw(
    rival: Rival, num_trials: int, generator: np.random.Generator
) -> dict[str, Float[np.ndarray, " trials"]]:
    """Random values of every knob, one of each for a trial."""
    values = {}
    for name, knob in rival.knobs.items():
        if isinstance(knob, LogUniform):
            low, high = np.log(knob.low), np.log(knob.high)
            values[name] = np.exp(generator.uniform(low, high, num_trials))
        else:
            values[name] = generator.integers(0, 2, num_trials).astype(float)
    return values


def on_edge(rival: Rival, values: Values, *, margin: float = 0.03) -> list[str]:
    """The knobs whose value lies within a share `margin` of its range's end, in the logarithm."""
    found = []
    for name, knob in rival.knobs.items():
        if isinstance(knob, LogUniform):
            place = np.log(float(values[name]) / knob.low) / np.log(knob.high / knob.low)
            if not margin <= place <= 1.0 - margin:
                found.append(name)
    return found


def learning_rate(values: Values, num_steps: int) -> optax.Schedule:
    """The schedule of a rival: constant, or a cosine to zero where the knob `cosine` is on."""

    def at(count: ArrayLike) -> Scalar:
        fraction = jnp.asarray(count) / num_steps
        factor = jnp.where(values["cosine"] > 0.5, cosine(fraction), 1.0)
        return values["learning_rate"] * factor

    return at


def sgd(values: Values, num_steps: int) -> Recipe:
    """Stochastic gradient descent with momentum (Polyak, 1964)."""
    momentum = 1.0 - values["one_minus_momentum"]
    return Recipe(optax.sgd(learning_rate(values, num_steps), momentum=momentum))


def adam(values: Values, num_steps: int) -> Recipe:
    """Adam (Kingma, Ba, arXiv 1412.6980)."""
    return Recipe(optax.adam(learning_rate(values, num_steps)))


def adamw(values: Values, num_steps: int) -> Recipe:
    """Adam with decoupled weight decay (Loshchilov, Hutter, arXiv 1711.05101)."""
    schedule = learning_rate(values, num_steps)
    return Recipe(optax.adamw(schedule, weight_decay=values["weight_decay"]))


RIVALS = {
    "sgd": Rival(
        {
            "learning_rate": LogUniform(1e-3, 3.0),
            "one_minus_momentum": LogUniform(1e-2, 1.0),
            "cosine": Switch(),
        },
        sgd,
    ),
    "adam": Rival({"learning_rate": LogUniform(1e-4, 1e-1), "cosine": Switch()}, adam),
    "adamw": Rival(
        {
            "learning_rate": LogUniform(1e-4, 1e-1),
            "weight_decay": LogUniform(1e-3, 1e2),
            "cosine": Switch(),
        },
        adamw,
    ),
}
"""Rivals by name."""

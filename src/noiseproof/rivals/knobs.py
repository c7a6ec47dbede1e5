"""Knobs of hand-designed rivals: the ranges that a random search covers.

Values are arrays, so that the trials of a search are an axis of `jax.vmap`.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Scalar

Values: TypeAlias = Mapping[str, float | Scalar]
"""A value for each knob of a rival."""


class LogUniform(NamedTuple):
    """A range whose logarithm is uniform.

    Attributes:
        low: Its positive beginning.
        high: Its end.
        chance_of_none: The chance that the value is 0 instead, which turns the thing off.
    """

    low: float
    high: float
    chance_of_none: float = 0.0


class Switch(NamedTuple):
    """A knob that is off (0) or on (1)."""


Knobs: TypeAlias = Mapping[str, LogUniform | Switch]
"""The range of each knob."""


def draw(
    knobs: Knobs, num_trials: int, generator: np.random.Generator
) -> dict[str, Float[np.ndarray, " trials"]]:
    """Random values of every knob, one of each for a trial."""
    values = {}
    for name, knob in knobs.items():
        if isinstance(knob, LogUniform):
            low, high = np.log(knob.low), np.log(knob.high)
            values[name] = np.exp(generator.uniform(low, high, num_trials))
            if knob.chance_of_none:
                values[name] *= generator.uniform(size=num_trials) >= knob.chance_of_none
        else:
            values[name] = generator.integers(0, 2, num_trials).astype(float)
    return values


def on_edge(knobs: Knobs, values: Values, *, margin: float = 0.03) -> list[str]:
    """The knobs whose value lies within a share `margin` of its range's end, in the logarithm."""
    found = []
    for name, knob in knobs.items():
        value = float(values[name])
        if isinstance(knob, LogUniform) and not (knob.chance_of_none and value == 0):
            place = np.log(value / knob.low) / np.log(knob.high / knob.low)
            if not margin <= place <= 1.0 - margin:
                found.append(name)
    return found

"""Knobs of hand-designed rivals: the ranges that a search covers, as places in [0, 1].

Values are arrays, so that the trials of a search are an axis of `jax.vmap`. A search sees places
alone: the logarithm of a range, below whose low end may lie a stretch that stands for 0, so that
"off" is next to "hardly on" and a rival holds what it adds to as one of its points.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from jaxtyping import Array, Int, Scalar

Values: TypeAlias = Mapping[str, float | Scalar]
"""A value for each knob of a rival."""

NumSteps: TypeAlias = int | Int[Array, ""]
"""Length of a run; traced where one program trains runs of several lengths."""

MARGIN = 0.03
"""A place nearer than this to an end of a range lies on its edge."""

WIDER = 10.0
"""A range that is widened goes on to this factor beyond what lies on its edge."""


class LogUniform(NamedTuple):
    """A range whose logarithm is uniform.

    Attributes:
        low: Its positive beginning.
        high: Its end.
        chance_of_none: The share of places that stand for 0, which turns the thing off.
        most: No value above it makes sense, so that the range never goes beyond.
    """

    low: float
    high: float
    chance_of_none: float = 0.0
    most: float = math.inf


class Switch(NamedTuple):
    """A knob that is off (0) or on (1)."""


Knob: TypeAlias = LogUniform | Switch
Knobs: TypeAlias = Mapping[str, Knob]
"""The range of each knob."""


def check_knobs(knobs: Knobs) -> None:
    """Raises ValueError where a range is empty, upside down or beyond what makes sense."""
    for name, knob in knobs.items():
        if isinstance(knob, Switch):
            continue
        if not 0.0 < knob.low < knob.high <= knob.most or not math.isfinite(knob.high):
            raise ValueError(
                f"The range of {name} must go from above 0 up to at most {knob.most:g}, got "
                f"{knob.low:g} to {knob.high:g}."
            )
        if not 0.0 <= knob.chance_of_none < 1.0:
            raise ValueError(
                f"chance_of_none of {name} must lie in [0, 1), got {knob.chance_of_none:g}."
            )


def value_at(knob: Knob, place: float) -> float:
    """The value at a place in [0, 1], to five digits, so that records hold it as it is."""
    if isinstance(knob, Switch):
        return float(place > 0.5)
    share = (place - knob.chance_of_none) / (1.0 - knob.chance_of_none)
    value = knob.low * (knob.high / knob.low) ** share if share >= 0.0 else 0.0
    return float(f"{value:.5g}")


def place_of(knob: Knob, value: float) -> float:
    """The place of a value in the range; an end's where the value lies beyond."""
    if isinstance(knob, Switch):
        return float(value > 0.5)
    if value <= 0.0:
        return knob.chance_of_none / 2.0
    share = math.log(value / knob.low) / math.log(knob.high / knob.low)
    return knob.chance_of_none + (1.0 - knob.chance_of_none) * min(max(share, 0.0), 1.0)


def on_edge(knobs: Knobs, values: Values) -> list[str]:
    """The knobs whose value lies at an end of its range beyond which something else may lie."""
    return [name for name, knob in knobs.items() if widened(knob, float(values[name])) != knob]


def wide_enough(knobs: Knobs, values: Values) -> dict[str, Knob]:
    """The knobs with the ranges widened on whose edge, or beyond which, a value lies."""
    return {name: widened(knob, float(values[name])) for name, knob in knobs.items()}


def widened(knob: Knob, value: float) -> Knob:
    """A range that goes on beyond a value at its end; the same where it does not lie there."""
    if isinstance(knob, Switch) or value <= 0.0:
        return knob
    place = math.log(value / knob.low) / math.log(knob.high / knob.low)
    if place < MARGIN and not knob.chance_of_none:
        return knob._replace(low=min(value, knob.low) / WIDER)
    if place > 1.0 - MARGIN and knob.high < knob.most:
        return knob._replace(high=min(max(value, knob.high) * WIDER, knob.most))
    return knob

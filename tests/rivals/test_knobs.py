import math

import numpy as np
import pytest

from noiseproof.evaluate.search import random_points
from noiseproof.rivals.knobs import (
    LogUniform,
    Switch,
    check_knobs,
    on_edge,
    place_of,
    value_at,
    wide_enough,
)

KNOBS = {"rate": LogUniform(1e-4, 1e-1), "maybe": LogUniform(1.0, 100.0, 0.25), "flag": Switch()}


@pytest.fixture(scope="module")
def values():
    points = random_points(KNOBS, 400, 0)
    return {name: np.array([point[name] for point in points]) for name in KNOBS}


def test_draws_lie_in_range_and_use_all_of_it(values) -> None:
    for name, drawn in (("rate", values["rate"]), ("maybe", values["maybe"][values["maybe"] > 0])):
        place = np.log(drawn / KNOBS[name].low) / np.log(KNOBS[name].high / KNOBS[name].low)
        assert -1e-5 <= place.min() < 0.05
        assert 0.95 < place.max() <= 1.0 + 1e-5
        # The mean of n uniform draws has a standard error of 1/√(12 n).
        assert abs(place.mean() - 0.5) < 4 / (12 * len(drawn)) ** 0.5


def test_shares_of_switches_and_of_none(values) -> None:
    """Of 400 draws, four standard errors are 4 √(p (1 - p) / 400)."""
    assert set(values["flag"]) == {0.0, 1.0}
    assert abs(values["flag"].mean() - 0.5) < 4 * 0.025
    assert abs((values["maybe"] == 0).mean() - 0.25) < 4 * 0.0217


def test_knobs_are_drawn_apart(values) -> None:
    """Catches one draw for all; a correlation of 400 pairs has a standard error of 1/√400."""
    pairs = np.corrcoef(np.log(values["rate"]), values["flag"])
    assert abs(pairs[0, 1]) < 4 / 20


@pytest.mark.parametrize("name", KNOBS)
@pytest.mark.parametrize("place", [0.0, 0.1, 0.26, 0.7, 1.0])
def test_values_have_their_places(name: str, place: float) -> None:
    """Catches a range that is read otherwise than it is written, as searches that go on do."""
    value = value_at(KNOBS[name], place)
    assert value_at(KNOBS[name], place_of(KNOBS[name], value)) == pytest.approx(value, rel=1e-4)


def test_off_lies_below_the_least() -> None:
    assert value_at(KNOBS["maybe"], 0.24) == 0.0
    assert value_at(KNOBS["maybe"], 0.25) == 1.0
    assert 0.0 < place_of(KNOBS["maybe"], 0.0) < 0.25


def test_edges_are_found_in_the_logarithm() -> None:
    middle = {"rate": 3e-3, "maybe": 10.0, "flag": 1.0}
    assert on_edge(KNOBS, middle) == []
    assert on_edge(KNOBS, {**middle, "rate": 1.1e-4}) == ["rate"]
    assert on_edge(KNOBS, {**middle, "rate": 0.09, "flag": 0.0}) == ["rate"]
    # Below the least of what can be off there is but off; nothing lies beyond the most.
    assert on_edge(KNOBS, {**middle, "maybe": 1.01}) == []
    assert on_edge({"share": LogUniform(0.01, 1.0, most=1.0)}, {"share": 1.0}) == []


def test_ranges_are_widened_where_a_value_lies_at_their_end_or_beyond() -> None:
    middle = {"rate": 3e-3, "maybe": 10.0, "flag": 1.0}
    assert wide_enough(KNOBS, middle) == KNOBS
    wider = wide_enough(KNOBS, {**middle, "rate": 1e-5, "maybe": 99.0})
    assert (wider["rate"].low, wider["rate"].high) == (pytest.approx(1e-6), 1e-1)
    assert wider["maybe"] == LogUniform(1.0, 1000.0, 0.25)
    bounded = {"share": LogUniform(0.01, 0.9, most=0.95)}
    assert wide_enough(bounded, {"share": 0.89})["share"].high == 0.95


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        (
            LogUniform(1.0, 0.1),
            "range of rate must go from above 0 up to at most inf, got 1 to 0.1",
        ),
        (LogUniform(0.0, 0.1), "got 0 to 0.1"),
        (LogUniform(0.1, math.inf), "got 0.1 to inf"),
        (LogUniform(0.1, 2.0, most=1.0), "up to at most 1, got 0.1 to 2"),
        (LogUniform(0.1, 2.0, 1.0), r"chance_of_none of rate must lie in \[0, 1\), got 1"),
    ],
)
def test_ranges_that_make_no_sense_are_named(knob: LogUniform, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_knobs({"rate": knob})

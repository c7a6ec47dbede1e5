import numpy as np
import pytest

from noiseproof.rivals.knobs import LogUniform, Switch, draw, on_edge

KNOBS = {"rate": LogUniform(1e-4, 1e-1), "maybe": LogUniform(1.0, 100.0, 0.25), "flag": Switch()}


@pytest.fixture(scope="module")
def values():
    return draw(KNOBS, 400, np.random.default_rng(0))


def test_draws_lie_in_range_and_use_all_of_it(values) -> None:
    for name, drawn in (("rate", values["rate"]), ("maybe", values["maybe"][values["maybe"] > 0])):
        place = np.log(drawn / KNOBS[name].low) / np.log(KNOBS[name].high / KNOBS[name].low)
        assert 0.0 <= place.min() < 0.05
        assert 0.95 < place.max() <= 1.0
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


def test_edges_are_found_in_the_logarithm() -> None:
    middle = {"rate": 3e-3, "maybe": 10.0, "flag": 1.0}
    assert on_edge(KNOBS, middle) == []
    assert on_edge(KNOBS, {**middle, "rate": 1.1e-4}) == ["rate"]
    assert on_edge(KNOBS, {**middle, "rate": 0.09, "flag": 0.0}) == ["rate"]
    assert on_edge(KNOBS, {**middle, "rate": 1.1e-4, "maybe": 99.0}) == ["rate", "maybe"]


def test_what_is_turned_off_is_on_no_edge() -> None:
    assert on_edge(KNOBS, {"rate": 3e-3, "maybe": 0.0, "flag": 1.0}) == []

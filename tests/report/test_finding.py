from collections.abc import Callable

import msgspec
import pytest

from noiseproof.report.finding import finding
from noiseproof.results import Comparison, Condition, OptimizerEntry, Record, Summary

SEEN = Condition("gaussian_noise", "noise", "meta_train", strength=0.5)
HELD_OUT = Condition("gaussian_noise", "noise", "held_out", strength=0.7)
SEVERE = Condition("fog", "photometric", "held_out", severity=5)


def comparison(
    rival: str,
    rival_mean: float,
    difference: float,
    condition: Condition = HELD_OUT,
    **changes: object,
) -> Comparison:
    plain = Comparison(
        learned="mine",
        rival=rival,
        condition=condition,
        learned_mean=rival_mean + difference,
        rival_mean=rival_mean,
        difference=difference,
        ci95=(difference - 0.01, difference + 0.01),
        p_holm=0.01,
        n=10,
    )
    return msgspec.structs.replace(plain, **changes)


@pytest.fixture
def found(make_record: Callable[..., Record]) -> Callable[..., str]:
    """The finding of these comparisons."""
    kinds = {"mine": "learned", "initial": "initial", "adam": "hand", "adamw": "hand"}
    entries = [OptimizerEntry(name, kind, "outer", 0) for name, kind in kinds.items()]
    run = msgspec.structs.replace(make_record(num_seeds=1).run, optimizers=entries)
    return lambda *comparisons: finding(run, Summary({}, list(comparisons)))


def test_strongest_rival_is_named_not_the_one_that_flatters(found: Callable[..., str]) -> None:
    text = found(
        comparison("adam", 0.4, 0.2),
        comparison("adamw", 0.6, 0.0, p_holm=1.0),
        comparison("initial", 0.7, -0.1),
    )
    assert text.startswith("Against adamw, the strongest hand-designed rival here, mine")


def test_strongest_is_judged_by_held_out_conditions(found: Callable[..., str]) -> None:
    text = found(
        comparison("adam", 0.5, 0.1),
        comparison("adam", 0.9, 0.0, SEEN),
        comparison("adamw", 0.6, 0.1),
        comparison("adamw", 0.1, 0.5, SEEN),
    )
    assert text.startswith("Against adamw")


def test_a_loss_is_called_one(found: Callable[..., str]) -> None:
    text = found(
        comparison("adam", 0.5, -0.02),
        comparison("adam", 0.5, 0.01, p_holm=0.2),
        comparison("adam", 0.5, -0.05, SEEN),
    )
    assert "more accurate on 1 of 2 held-out conditions (0 significantly)" in text
    assert "significantly less on 1: −0.5 points on average, n = 10 seeds" in text
    assert "mine reaches 45.0% and adam 50.0%: −5.0 points (95% interval −6.0 to −4.0" in text


def test_an_interval_around_zero_is_no_clear_difference(found: Callable[..., str]) -> None:
    assert found(comparison("adam", 0.5, 0.005, SEEN)) == (
        "On gaussian noise 0.5, the meta-trained condition, mine reaches 50.5% and adam 50.0%: "
        "+0.5 points (95% interval −0.5 to +1.5, n = 10 seeds), which is no clear difference."
    )


def test_one_seed_claims_no_spread(found: Callable[..., str]) -> None:
    assert found(comparison("adam", 0.5, 0.1, SEEN, n=1, ci95=None, p_holm=None)).endswith(
        "+10.0 points in one seed, so that nothing is known of its spread."
    )


def test_single_severities_do_not_count(found: Callable[..., str]) -> None:
    text = found(comparison("adam", 0.5, 0.1), comparison("adam", 0.5, -0.3, SEVERE))
    assert "on 1 of 1 held-out conditions" in text


def test_without_a_hand_designed_rival_nothing_is_claimed(found: Callable[..., str]) -> None:
    none = "No learned optimizer was compared with a hand-designed rival."
    assert found() == none
    assert found(comparison("initial", 0.5, 0.1)) == none

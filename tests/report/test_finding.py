import math

from noiseproof.report.finding import finding
from noiseproof.results import (
    Comparison,
    Improvement,
    MetaTraining,
    OptimizerEntry,
    Provenance,
    Summary,
)


def comparison(rival: str, rival_mean: float, difference: float, **changes: object) -> Comparison:
    plain = Comparison(
        learned="mine",
        rival=rival,
        dataset="digits",
        model="mlp",
        corruption="gaussian_noise",
        family="noise",
        severity=None,
        strength=0.7,
        role="held_out",
        learned_mean=rival_mean + difference,
        rival_mean=rival_mean,
        difference=difference,
        ci95=(difference - 0.01, difference + 0.01),
        p_holm=0.01,
        n=10,
    )
    return plain._replace(**changes)


def summary(*comparisons: Comparison) -> Summary:
    kinds = {"mine": "learned", "initial": "initial", "adam": "hand", "adamw": "hand"}
    return Summary(
        experiment="test",
        preset="test",
        meta_training=MetaTraining(1, 1, 1.0, 1.0, "none"),
        optimizers=[OptimizerEntry(name, kind, "outer", 0) for name, kind in kinds.items()],
        comparisons=list(comparisons),
        held_out_improved={"adam": Improvement(0, 0, 0)},
        provenance=Provenance("0.1.0", "unknown", {}, {}, "3.11", "Linux", "none", "none", {}),
    )


SEEN = {"role": "meta_train", "strength": 0.5}


def test_strongest_rival_is_named_not_the_one_that_flatters() -> None:
    found = finding(
        summary(
            comparison("adam", 0.4, 0.2),
            comparison("adamw", 0.6, 0.0, p_holm=1.0),
            comparison("initial", 0.7, -0.1),
        )
    )
    assert found.startswith("Against adamw, the strongest hand-designed rival here, mine")


def test_strongest_is_judged_by_held_out_conditions() -> None:
    found = finding(
        summary(
            comparison("adam", 0.5, 0.1),
            comparison("adam", 0.9, 0.0, **SEEN),
            comparison("adamw", 0.6, 0.1),
            comparison("adamw", 0.1, 0.5, **SEEN),
        )
    )
    assert found.startswith("Against adamw")


def test_a_loss_is_called_one() -> None:
    found = finding(
        summary(
            comparison("adam", 0.5, -0.02),
            comparison("adam", 0.5, 0.01, p_holm=0.2),
            comparison("adam", 0.5, -0.05, **SEEN),
        )
    )
    assert "more accurate on 1 of 2 held-out conditions (0 significantly)" in found
    assert "significantly less on 1: −0.5 points on average, n = 10 seeds" in found
    assert "mine reaches 45.0% and adam 50.0%: −5.0 points (95% interval −6.0 to −4.0" in found


def test_an_interval_around_zero_is_no_clear_difference() -> None:
    found = finding(summary(comparison("adam", 0.5, 0.005, **SEEN)))
    assert found == (
        "On gaussian noise 0.5, the meta-trained condition, mine reaches 50.5% and adam 50.0%: "
        "+0.5 points (95% interval −0.5 to +1.5, n = 10 seeds), which is no clear difference."
    )


def test_one_seed_claims_no_spread() -> None:
    single = comparison("adam", 0.5, 0.1, **SEEN, n=1, ci95=(math.nan, math.nan), p_holm=math.nan)
    assert finding(summary(single)).endswith(
        "+10.0 points in one seed, so that nothing is known of its spread."
    )


def test_single_severities_do_not_count() -> None:
    found = finding(
        summary(comparison("adam", 0.5, 0.1), comparison("adam", 0.5, -0.3, severity=5))
    )
    assert "on 1 of 1 held-out conditions" in found


def test_without_a_hand_designed_rival_nothing_is_claimed() -> None:
    none = "No learned optimizer was compared with a hand-designed rival."
    assert finding(summary()) == none
    assert finding(summary(comparison("initial", 0.5, 0.1))) == none

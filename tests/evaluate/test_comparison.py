import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from noiseproof.evaluate.comparison import compare, held_out_improved
from noiseproof.results import Comparison, ResultRow

CLEAN = {"corruption": "none", "family": "none", "strength": 0.0, "role": "clean"}


def row(optimizer: str, seed: int, accuracy: float, **changes: object) -> ResultRow:
    plain = ResultRow(
        experiment="test",
        dataset="digits",
        model="mlp",
        optimizer=optimizer,
        kind="hand",
        tuned_on="outer",
        meta_seed=None,
        corruption="gaussian_noise",
        family="noise",
        severity=None,
        strength=0.5,
        role="meta_train",
        seed=seed,
        num_steps=500,
        accuracy=accuracy,
        loss=1.0,
        diverged=False,
    )
    return plain._replace(**changes)


def runs(optimizer: str, accuracies: list[float], **changes: object) -> list[ResultRow]:
    return [row(optimizer, seed, accuracy, **changes) for seed, accuracy in enumerate(accuracies)]


def test_difference_is_paired_by_seed_whatever_the_order_of_rows() -> None:
    # Differences .1 .2 .3: mean .2, standard error .1 / sqrt(3), t quantile 4.302653 (2 degrees).
    rows = runs("mine", [0.5, 0.7, 0.9]) + runs("adam", [0.4, 0.5, 0.6])[::-1]
    (found,) = compare(rows, learned="mine", rivals=["adam"])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.learned_mean == pytest.approx(0.7)
    assert found.rival_mean == pytest.approx(0.5)
    assert found.difference == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.2 - half, 0.2 + half), rel=1e-6)
    # t = .2 / (.1 / sqrt(3)) = 3.4641; with 2 degrees p = 1 - t / sqrt(2 + t^2).
    t = 2 * math.sqrt(3)
    assert found.p_holm == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert (found.n, found.role, found.strength, found.severity) == (3, "meta_train", 0.5, None)


def test_several_severities_give_their_mean_and_each() -> None:
    rows = [
        made
        for severity, (mine, adam) in enumerate([(0.9, 0.8), (0.7, 0.7), (0.5, 0.2)], 1)
        for made in [
            *runs("mine", [mine, mine - 0.1], corruption="fog", severity=severity, strength=None),
            *runs("adam", [adam, adam], corruption="fog", severity=severity, strength=None),
        ]
    ]
    found = compare(rows, learned="mine", rivals=["adam"])
    assert [made.severity for made in found] == [None, 1, 2, 3]
    # Seed 0: (.9 + .7 + .5 - .8 - .7 - .2) / 3 = .4 / 3; seed 1 .1 less.
    assert found[0].difference == pytest.approx(0.4 / 3 - 0.05)
    # Seeds are the sample, not seeds times severities.
    assert found[0].n == 2
    assert found[3].difference == pytest.approx(0.25)


def test_p_values_are_adjusted_over_the_corruptions_of_one_rival() -> None:
    generator = np.random.default_rng(0)
    strengths, rivals = [0.1, 0.2, 0.3, 0.5], ["adam", "sgd"]
    rows = [
        made
        for strength, name in product(strengths, ["mine", *rivals])
        for made in runs(name, generator.uniform(0.4, 0.6, 5).tolist(), strength=strength)
    ]
    rows += [made for name in ["mine", *rivals] for made in runs(name, [0.9, 0.8], **CLEAN)]
    found = compare(rows, learned="mine", rivals=rivals)
    for rival in rivals:
        values = {
            strength: [
                [
                    made.accuracy
                    for made in rows
                    if (made.optimizer, made.strength) == (name, strength)
                ]
                for name in ("mine", rival)
            ]
            for strength in strengths
        }
        raw = np.array([stats.ttest_rel(*values[strength]).pvalue for strength in strengths])
        # Holm by its definition: the largest of (m - k) p_(k) over tests that are not larger.
        expected = [
            min(1, max((np.sum(raw >= other) * other) for other in raw if other <= p)) for p in raw
        ]
        made = [c for c in found if c.rival == rival]
        assert [c.p_holm for c in made if c.role != "clean"] == pytest.approx(expected)
        # The clean row is no corruption: it is adjusted by itself, and equal in every seed.
        assert [c.p_holm for c in made if c.role == "clean"] == [1.0]


def comparison(rival: str, difference: float, p: float, **changes: object) -> Comparison:
    plain = Comparison(
        learned="mine",
        rival=rival,
        dataset="digits",
        model="mlp",
        corruption="fog",
        family="photometric",
        severity=None,
        strength=None,
        role="held_out",
        learned_mean=0.5,
        rival_mean=0.5 - difference,
        difference=difference,
        ci95=(0.0, 0.0),
        p_holm=p,
        n=10,
    )
    return plain._replace(**changes)


def test_held_out_counts_neither_seen_conditions_nor_single_severities() -> None:
    plain = {"family": "photometric", "strength": None, "role": "held_out"}
    named = ("fog", "snow", "frost", "contrast")
    rows = [
        made
        for name in named
        for optimizer in ("mine", "adam", "sgd")
        for made in runs(optimizer, [0.5, 0.6], corruption=name, **plain)
    ]
    found = held_out_improved(
        [
            comparison("adam", 0.1, 0.01),
            comparison("adam", 0.1, 0.05, corruption="snow"),  # better, just not significant
            comparison("adam", -0.1, 0.01, corruption="frost"),  # significant, and worse
            comparison("adam", 0.0, 1.0, corruption="contrast"),
            *(
                comparison("adam", 0.1, 0.01, role=role)
                for role in ("clean", "meta_train", "kin", "validation")
            ),
            comparison("adam", 0.1, 0.01, severity=3),
            comparison("sgd", 0.1, math.nan),  # nothing known of its spread
        ],
        rows,
    )
    assert {rival: tuple(made)[:3] for rival, made in found.items()} == {
        "adam": (2, 4, 1),
        "sgd": (1, 1, 0),
    }
    # Of three that are not equal two are better: any outcome is as extreme.
    assert found["adam"].p_sign == 1.0


def test_the_mean_over_held_out_conditions_is_taken_within_seeds() -> None:
    """Differences .1 and .3 under fog, .3 and .1 under snow: .2 in every seed, no spread."""
    plain = {"family": "photometric", "strength": None, "role": "held_out"}
    rows = [
        *runs("mine", [0.5, 0.7], corruption="fog", **plain),
        *runs("adam", [0.4, 0.4], corruption="fog", **plain),
        *runs("mine", [0.8, 0.6], corruption="snow", **plain),
        *runs("adam", [0.5, 0.5], corruption="snow", **plain),
        *runs("mine", [0.1, 0.1], corruption="pixelate", **{**plain, "role": "kin"}),
        *runs("adam", [0.9, 0.9], corruption="pixelate", **{**plain, "role": "kin"}),
    ]
    comparisons = compare(rows, learned="mine", rivals=["adam"])
    found = held_out_improved(comparisons, rows)["adam"]
    assert (found.count, found.of, found.n) == (2, 2, 2)
    assert found.learned_mean == pytest.approx(0.65)
    assert found.rival_mean == pytest.approx(0.45)
    assert found.difference == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.2, 0.2))
    assert found.p_sign == pytest.approx(0.5)


def test_one_seed_gives_a_difference_without_interval() -> None:
    (found,) = compare([row("mine", 0, 0.7), row("adam", 0, 0.6)], learned="mine", rivals=["adam"])
    assert found.difference == pytest.approx(0.1)
    assert math.isnan(found.ci95[0])
    assert math.isnan(found.p_holm)


def test_optimizers_must_be_in_the_rows() -> None:
    with pytest.raises(ValueError, match="must be in the rows, got none of adamw under gaussian"):
        compare(runs("mine", [0.5, 0.6]), learned="mine", rivals=["adamw"])


def test_seeds_must_be_the_same() -> None:
    rows = runs("mine", [0.5, 0.6]) + runs("adam", [0.5])
    with pytest.raises(
        ValueError, match=r"same seeds, got \[0, 1\] and \[0\] under .*strength 0.5"
    ):
        compare(rows, learned="mine", rivals=["adam"])


def test_seeds_must_be_the_same_at_all_severities() -> None:
    rows = runs("mine", [0.5, 0.6], corruption="fog", severity=1) + runs(
        "mine", [0.5], corruption="fog", severity=2
    )
    with pytest.raises(ValueError, match="same seeds at all severities of fog"):
        compare(rows, learned="mine", rivals=[])


def test_a_run_must_not_be_counted_twice() -> None:
    rows = [*runs("mine", [0.5, 0.6]), row("mine", 1, 0.6, meta_seed=1)]
    with pytest.raises(ValueError, match="got seed 1 of mine twice under gaussian_noise on digits"):
        compare(rows, learned="mine", rivals=[])

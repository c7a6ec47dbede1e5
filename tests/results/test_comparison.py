import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from scipy import stats

from noiseproof.results import Comparison, Condition, Record, compare, held_out_improved, summarize

CLEAN = Condition("none", "none", "clean", strength=0.0)


def noise(strength: float) -> Condition:
    return Condition("gaussian_noise", "noise", "meta_train", strength=strength)


def named(name: str, role: str = "held_out", severity: int | None = None) -> Condition:
    return Condition(name, "photometric", role, severity=severity)


def test_difference_is_paired_by_seed(make_record: Callable[..., Record]) -> None:
    # Differences .1 .2 .3: mean .2, standard error .1 / sqrt(3), t quantile 4.302653 (2 degrees).
    record = make_record({"mine": [[0.5, 0.7, 0.9]], "adam": [[0.4, 0.5, 0.6]]}, [noise(0.5)])
    (found,) = compare(record, learned="mine", rivals=["adam"])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.learned_mean == pytest.approx(0.7)
    assert found.rival_mean == pytest.approx(0.5)
    assert found.difference == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.2 - half, 0.2 + half), rel=1e-6)
    # t = .2 / (.1 / sqrt(3)) = 3.4641; with 2 degrees p = 1 - t / sqrt(2 + t^2).
    t = 2 * math.sqrt(3)
    assert found.p_holm == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert (found.n, found.condition) == (3, noise(0.5))


def test_several_severities_give_their_mean_and_each(make_record: Callable[..., Record]) -> None:
    record = make_record(
        {
            "mine": [[0.9, 0.8], [0.7, 0.6], [0.5, 0.4]],
            "adam": [[0.8, 0.8], [0.7, 0.7], [0.2, 0.2]],
        },
        [named("fog", severity=severity) for severity in (1, 2, 3)],
    )
    found = compare(record, learned="mine", rivals=["adam"])
    assert [one.condition.severity for one in found] == [None, 1, 2, 3]
    # Seed 0: (.9 + .7 + .5 - .8 - .7 - .2) / 3 = .4 / 3; seed 1 .1 less.
    assert found[0].difference == pytest.approx(0.4 / 3 - 0.05)
    # Seeds are the sample, not seeds times severities.
    assert found[0].n == 2
    assert found[3].difference == pytest.approx(0.25)
    # Each is the only test of its family, so that nothing is adjusted.
    assert found[0].p_holm == pytest.approx(stats.ttest_1samp([0.4 / 3, 0.4 / 3 - 0.1], 0).pvalue)
    assert found[1].p_holm == pytest.approx(stats.ttest_1samp([0.1, 0.0], 0).pvalue)


def test_p_values_are_adjusted_over_the_corruptions_of_one_rival(
    make_record: Callable[..., Record],
) -> None:
    generator = np.random.default_rng(0)
    strengths, rivals = [0.1, 0.2, 0.3, 0.5], ["adam", "sgd"]
    values = np.round(generator.uniform(0.4, 0.6, (3, 5, 5)), 3)
    values[:, -1] = 0.9
    record = make_record(
        dict(zip(["mine", *rivals], values, strict=True)), [*map(noise, strengths), CLEAN]
    )
    found = compare(record, learned="mine", rivals=rivals)
    for place, rival in enumerate(rivals, 1):
        raw = np.array([stats.ttest_rel(values[0, i], values[place, i]).pvalue for i in range(4)])
        # Holm by its definition: the largest of (m - k) p_(k) over tests that are not larger.
        expected = [
            min(1, max((np.sum(raw >= other) * other) for other in raw if other <= p)) for p in raw
        ]
        mine = [one for one in found if one.rival == rival]
        assert [one.p_holm for one in mine[:4]] == pytest.approx(expected)
        # The clean row is no corruption: it is adjusted by itself, and equal in every seed.
        assert mine[4].p_holm == 1.0


def test_single_severities_are_adjusted_apart_from_their_means(
    make_record: Callable[..., Record],
) -> None:
    """Each of two corruptions is one of two tests, however many severities there are."""
    places = [(name, severity) for name in ("fog", "contrast") for severity in (1, 2, 3)]
    ours, theirs = np.round(np.random.default_rng(0).uniform(0.4, 0.6, (2, 6, 5)), 3)
    ours[:3] += 0.2
    record = make_record({"mine": ours, "adam": theirs}, [named(n, severity=s) for n, s in places])
    means = [
        one
        for one in compare(record, learned="mine", rivals=["adam"])
        if not one.condition.severity
    ]
    raw = [
        stats.ttest_rel(ours[at].mean(axis=0), theirs[at].mean(axis=0)).pvalue
        for at in (slice(3), slice(3, 6))
    ]
    assert raw[0] < raw[1]
    assert [one.p_holm for one in means] == pytest.approx([2 * raw[0], max(2 * raw[0], raw[1])])


def comparison(rival: str, difference: float, p: float | None, condition: Condition) -> Comparison:
    return Comparison(
        learned="mine",
        rival=rival,
        condition=condition,
        learned_mean=0.5,
        rival_mean=0.5 - difference,
        difference=difference,
        ci95=(0.0, 0.0),
        p_holm=p,
        n=2,
    )


def test_held_out_counts_neither_seen_conditions_nor_single_severities(
    make_record: Callable[..., Record],
) -> None:
    conditions = [named(name) for name in ("fog", "snow", "frost", "contrast")]
    record = make_record(
        dict.fromkeys(("mine", "adam", "sgd"), [[0.5, 0.6]] * len(conditions)), conditions
    )
    found = held_out_improved(
        [
            comparison("adam", 0.1, 0.01, named("fog")),
            comparison("adam", 0.1, 0.05, named("snow")),  # better, just not significant
            comparison("adam", -0.1, 0.01, named("frost")),  # significant, and worse
            comparison("adam", 0.0, 1.0, named("contrast")),
            *(
                comparison("adam", 0.1, 0.01, named("fog", role))
                for role in ("clean", "meta_train", "kin", "validation")
            ),
            comparison("adam", 0.1, 0.01, named("fog", severity=3)),
            comparison("sgd", 0.1, None, named("fog")),  # nothing known of its spread
        ],
        record,
    )
    assert {rival: (one.count, one.of, one.significant) for rival, one in found.items()} == {
        "adam": (2, 4, 1),
        "sgd": (1, 1, 0),
    }
    # Of three that are not equal two are better: any outcome is as extreme.
    assert found["adam"].p_sign == 1.0


def test_the_mean_over_held_out_conditions_is_taken_within_seeds(
    make_record: Callable[..., Record],
) -> None:
    """Differences .1 and .3 under fog, .3 and .1 under snow: .2 in every seed, no spread."""
    record = make_record(
        {
            "mine": [[0.5, 0.7], [0.8, 0.6], [0.1, 0.1]],
            "adam": [[0.4, 0.4], [0.5, 0.5], [0.9, 0.9]],
        },
        [named("fog"), named("snow"), named("pixelate", "kin")],
    )
    found = summarize(record).held_out_improved["adam"]
    assert (found.count, found.of, found.n) == (2, 2, 2)
    assert found.learned_mean == pytest.approx(0.65)
    assert found.rival_mean == pytest.approx(0.45)
    assert found.difference == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.2, 0.2))
    assert found.p_sign == pytest.approx(0.5)


def test_one_seed_gives_a_difference_without_interval(make_record: Callable[..., Record]) -> None:
    record = make_record({"mine": [[0.7]], "adam": [[0.6]]}, [noise(0.5)])
    (found,) = compare(record, learned="mine", rivals=["adam"])
    assert found.difference == pytest.approx(0.1)
    assert (found.ci95, found.p_holm) == (None, None)
    # As JSON, too, none of it is a NaN.
    assert b"NaN" not in msgspec.json.encode(summarize(record))


def test_optimizers_must_be_in_the_record(record: Record) -> None:
    with pytest.raises(ValueError, match="optimizers must be among mine, adam, got 'adamw'"):
        compare(record, learned="mine", rivals=["adamw"])

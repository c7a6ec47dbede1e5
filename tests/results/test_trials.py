"""What tuning costs, and that no rival ends below what it contains."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from noiseproof.results import (
    Condition,
    Record,
    Trials,
    expected_best,
    nested_violations,
    read_record,
    strongest_rival,
    summarize,
    trials_to_reach,
    write_record,
)

RESULTS = Path(__file__).parents[2] / "results"
CONDITIONS = [
    Condition("none", "none", "clean", strength=0.0),
    Condition("fog", "photometric", "held_out", severity=1),
]


def slow_best(losses, rounds) -> np.ndarray:
    """The mean over all orders within rounds, one by one."""
    groups = [losses[rounds == number] for number in dict.fromkeys(rounds.tolist())]
    orders = itertools.product(*(itertools.permutations(group) for group in groups))
    curves = [np.minimum.accumulate(list(itertools.chain(*order))) for order in orders]
    return np.mean(curves, axis=0)


@pytest.mark.parametrize("rounds", [[0] * 5, [0, 0, 0, 1, 1], [0, 1, 2, 2, 2], [0]])
def test_the_expectation_is_the_mean_over_all_orders(rounds: list[int]) -> None:
    """Catches orders across rounds, draws with replacement, and a best that is forgotten."""
    losses = np.array([0.9, 0.4, 0.7, 0.6, 0.2])[: len(rounds)]
    numbers = np.array(rounds)
    expected = slow_best(losses, numbers)
    np.testing.assert_allclose(expected_best(losses, numbers), expected, rtol=1e-12)


def test_a_loss_is_reached_at_the_first_trial_that_is_as_good() -> None:
    curve = np.array([0.9, 0.5, 0.4])
    assert trials_to_reach(curve, 0.5) == 2
    assert trials_to_reach(curve, 0.39) is None


def tuned_record(make_record, finals, *, theta: float | None = 0.5) -> Record:
    """A learned optimizer, Adam and AdamW, which contains it, with their searches."""
    accuracies = {
        "mine": [[0.9] * 3, [0.6] * 3],
        "adam": [[0.9] * 3, [0.3] * 3],
        "adamw": [[0.8] * 3, [0.4] * 3],
    }
    record = make_record(accuracies, CONDITIONS)
    first, adam, adamw = record.run.optimizers
    optimizers = [replace(first, outer_loss=theta), adam, replace(adamw, contains=["adam"])]
    none = np.full(len(finals[0]), np.nan)
    loss = np.array([[np.nan] * 4, [0.9, np.inf, 0.6, np.nan], [0.7, 0.6, 0.4, 0.3]])
    rounds = np.array([[-1] * 4, [0, 0, 0, -1], [0, 0, 1, 1]])
    trials = Trials(loss, rounds, np.array([none, *finals]))
    return record._replace(run=replace(record.run, optimizers=optimizers), trials=trials)


LEVEL = [0.60, 0.62, 0.58, 0.61, 0.59, 0.60, 0.63, 0.57]


def test_the_summary_says_what_tuning_costs(make_record) -> None:
    summary = summarize(tuned_record(make_record, [LEVEL, LEVEL]))
    costs = summary.tuning_costs
    assert set(costs) == {"adam", "adamw"}
    assert (costs["adam"].trials_to_reach, costs["adam"].of) == (None, 3)
    # Random ones end at .6, the third is the better or the worse of .4 and .3: .35 on average.
    assert (costs["adamw"].trials_to_reach, costs["adamw"].of) == (3, 4)
    assert costs["adamw"].outer_loss == pytest.approx(0.3, rel=1e-6)
    assert costs["adam"].outer_loss == pytest.approx(0.6, rel=1e-6)
    assert strongest_rival(tuned_record(make_record, [LEVEL, LEVEL]).run, summary) == "adamw"
    assert not summarize(tuned_record(make_record, [LEVEL, LEVEL], theta=None)).tuning_costs


def test_a_rival_is_level_where_what_it_contains_is(make_record) -> None:
    """Catches a container whose own trials come later, called harder to tune than its part."""
    record = tuned_record(make_record, [LEVEL, LEVEL], theta=0.65)
    loss = np.array([[np.nan] * 4, [0.9, np.inf, 0.6, np.nan], [0.9, 0.8, 0.8, 0.7]])
    record = record._replace(trials=record.trials._replace(trial_loss=loss))
    costs = summarize(record).tuning_costs
    assert (costs["adam"].trials_to_reach, costs["adamw"].trials_to_reach) == (3, 3)


def test_a_diverged_trial_counts_as_worse_than_guessing(make_record) -> None:
    from noiseproof.results import trial_curve

    curve = trial_curve(tuned_record(make_record, [LEVEL, LEVEL]), 1)
    assert curve[0] == pytest.approx((0.9 + 0.6 + 1.5 * math.log(10)) / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("shift", "spread", "fails"),
    [
        (0.0, 0.0, False),
        (0.02, 0.1, False),
        (0.02, 0.005, True),
        (5e-4, 0.0, False),
        (-1, 0, False),
    ],
)
def test_a_rival_may_be_worse_than_what_it_contains_by_noise_alone(
    make_record, shift: float, spread: float, fails: bool
) -> None:
    """Of eight paired runs: .02 is within noise of .1 / √8, and far out of .005 / √8."""
    noise = spread * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    ours = (np.array(LEVEL) + shift + noise).tolist()
    found = nested_violations(tuned_record(make_record, [LEVEL, ours]))
    assert bool(found) == fails
    if fails:
        assert found == ["adamw ended 0.0200 nats worse than adam, which it contains"]


def test_a_rival_that_diverges_where_what_it_contains_does_not_is_worse(make_record) -> None:
    ours = [*LEVEL[:-1], np.inf]
    assert nested_violations(tuned_record(make_record, [LEVEL, ours]))
    assert not nested_violations(tuned_record(make_record, [ours, LEVEL]))


def test_trials_are_read_as_they_were_written(make_record, tmp_path: Path) -> None:
    record = tuned_record(make_record, [LEVEL, LEVEL])
    write_record(tmp_path, record)
    found = read_record(tmp_path)
    assert found.run == record.run
    assert found.trials is not None
    assert record.trials is not None
    for ours, theirs in zip(found.trials, record.trials, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_trials_of_another_shape_are_refused(make_record, tmp_path: Path) -> None:
    record = tuned_record(make_record, [LEVEL, LEVEL])
    assert record.trials is not None
    wrong = record.trials._replace(trial_round=record.trials.trial_round[:, :2])
    with pytest.raises(ValueError, match="trial_round must be of kind iu and shape"):
        write_record(tmp_path, record._replace(trials=wrong))


FOLDERS = sorted(path.parent for path in RESULTS.rglob("run.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(RESULTS).as_posix())
def test_no_committed_rival_ends_below_what_it_contains(folder: Path) -> None:
    """Records that are older than the check hold no trials, and so nothing to be checked."""
    assert nested_violations(read_record(folder)) == []

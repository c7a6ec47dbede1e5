import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from scipy import stats

from noiseproof.report.tables import (
    Table,
    accuracy_table,
    comparison_groups,
    comparison_table,
    cost_table,
    duration,
    held_out_table,
    in_blocks,
    metrics_table,
    optimizer_table,
    p_value,
    points,
    to_text,
)
from noiseproof.results import Condition, Record, Summary, summarize

Make = Callable[..., Record]
ADAM = 3  # its place among the optimizers
replace = msgspec.structs.replace


def share(record: Record, optimizer: int, **wanted: object) -> np.ndarray:
    """Accuracies of one optimizer on the conditions with these fields, by condition and seed."""
    places = [
        place
        for place, condition in enumerate(record.run.conditions)
        if all(getattr(condition, name) == value for name, value in wanted.items())
    ]
    return record.scores.right[optimizer, places] / record.run.num_images


def test_accuracies_are_those_of_the_record(make_record: Make) -> None:
    record = make_record(num_seeds=6)
    table = accuracy_table(record)
    line = next(line for line in table.lines if line[0] == "gaussian noise 0.5*")
    (values,) = share(record, ADAM, strength=0.5)
    # Half the width of a 95% t interval of six values, in percent.
    half = stats.t.ppf(0.975, 5) * values.std(ddof=1) / math.sqrt(6)
    expected = f"{100 * values.mean():.1f} ± {100 * half:.1f}"
    assert line[table.header.index("adam")] == expected
    assert table.notes[0] == "In percent: mean ± half of the 95% t interval, n = 6 seeds."


def test_learned_optimizers_stand_first_and_the_initial_theta_last(make_record: Make) -> None:
    record = make_record(num_seeds=2)
    header = accuracy_table(record).header
    assert (header[1], header[-1]) == ("nominal_mlp", "nominal_mlp_initial")
    groups = comparison_groups(record.run, summarize(record))
    assert groups[-1][0].rival == "nominal_mlp_initial"


def test_severities_are_shown_by_their_mean(make_record: Make) -> None:
    record = make_record(severities=True, num_seeds=4)
    table = accuracy_table(record)
    assert [line[0] for line in table.lines][:3] == ["clean", "gaussian noise", "shot noise"]
    fog = share(record, ADAM, corruption="fog")
    cell = next(line for line in table.lines if line[0] == "fog")[table.header.index("adam")]
    assert cell.startswith(f"{100 * fog.mean():.1f} ± ")
    groups = comparison_groups(record.run, summarize(record))
    assert all(one.condition.severity is None for group in groups for one in group)


def test_the_last_line_is_the_mean_over_what_is_held_out(make_record: Make) -> None:
    record = make_record(severities=True, num_seeds=4)
    table = accuracy_table(record)
    held_out = share(record, ADAM, role="held_out").mean(axis=0)
    assert table.lines[-1][0] == "mean of 12 held out"
    half = stats.t.ppf(0.975, 3) * held_out.std(ddof=1) / 2
    expected = f"{100 * held_out.mean():.1f} ± {100 * half:.1f}"
    assert table.lines[-1][table.header.index("adam")] == expected


def test_diverged_runs_are_named(make_record: Make) -> None:
    table = accuracy_table(make_record(diverged=[1, 2]))
    assert "2 of 10 runs of sgd diverged and count as chance." in table.notes


def test_what_is_not_held_out_is_marked_and_the_marks_explained(make_record: Make) -> None:
    record = make_record(severities=True, num_seeds=2)
    roles = {"fog": "validation", "shot_noise": "kin", "rotate": "meta_train"}
    conditions = [
        replace(condition, role=roles.get(condition.corruption, condition.role))
        for condition in record.run.conditions
    ]
    table = accuracy_table(record._replace(run=replace(record.run, conditions=conditions)))
    names = {line[0] for line in table.lines}
    assert {"fog‡", "shot noise†", "rotate*", "contrast", "mean of 9 held out"} <= names
    assert [note[0] for note in table.notes[1:]] == ["*", "†", "‡"]


def test_comparison_table_shows_difference_interval_and_verdict(make_record: Make) -> None:
    first = summarize(make_record()).comparisons[0]
    made = replace(
        first, learned_mean=0.7, rival_mean=0.6, difference=0.1, ci95=(0.05, 0.15), p_holm=0.0004
    )
    worse = replace(made, difference=-0.1, ci95=(-0.15, -0.05), p_holm=0.049)
    undecided = replace(made, p_holm=0.05)
    single = replace(made, ci95=None, p_holm=None)
    table = comparison_table([made, worse, undecided, single])
    assert [line[1:] for line in table.lines] == [
        ("70.0", "60.0", "+10.0", "+5.0 to +15.0", "<0.001", "better"),
        ("70.0", "60.0", "−10.0", "−15.0 to −5.0", "0.049", "worse"),
        ("70.0", "60.0", "+10.0", "+5.0 to +15.0", "0.050", "open"),
        ("70.0", "60.0", "+10.0", "–", "–", "open"),
    ]
    assert "n = 10 seeds" in table.notes[0]


def test_held_out_table_is_the_summarys_and_counts_kin_apart(make_record: Make) -> None:
    record = make_record()
    summary = summarize(record)
    lines = {line[0]: line for line in held_out_table(record.run, summary).lines}
    assert set(lines) == set(summary.held_out_improved)
    improved = summary.held_out_improved["adam"]
    assert improved.ci95 is not None
    assert lines["adam"][1:] == (
        f"{improved.count} of {improved.of}",
        str(improved.significant),
        points(improved.difference),
        f"{points(improved.ci95[0])} to {points(improved.ci95[1])}",
        p_value(improved.p_sign),
        "–",
        "–",
    )
    ours = [one for one in summary.comparisons if one.rival == "adam"]
    kin = Condition("fog", "photometric", "kin")
    changed = [
        replace(one, condition=kin, difference=difference)
        for one, difference in zip(ours, (1.0, -1.0, 0.0), strict=False)
    ]
    table = held_out_table(record.run, Summary(summary.held_out_improved, changed))
    assert next(line for line in table.lines if line[0] == "adam")[6] == "1 of 3"


def test_calibration_is_that_of_held_out_runs_that_did_not_diverge(make_record: Make) -> None:
    record = make_record(diverged=[0])
    assert optimizer_table(record) is None  # no cost was taken
    entries = [
        replace(entry, train_seconds=1.5, train_bytes=2**20) for entry in record.run.optimizers
    ]
    held_out = np.array([one.role == "held_out" for one in record.run.conditions])
    errors = np.where(held_out[None, :, None], 0.1, 0.9) + np.zeros(record.scores.right.shape)
    errors[record.scores.diverged[:, None].repeat(len(held_out), axis=1)] = math.nan
    table = optimizer_table(
        Record(
            replace(record.run, optimizers=entries),
            record.scores._replace(calibration_error=errors),
            record.curves,
        )
    )
    assert table is not None
    assert table.lines[0][0] == "nominal_mlp"
    assert {line[2:] for line in table.lines} == {("10.0", "1.50 s", "1.0 MiB")}


def test_metrics_are_relative_to_the_baseline(make_record: Make) -> None:
    record = make_record(severities=True, num_seeds=2)
    table = metrics_table(record, "adam")
    lines = {line[0]: line for line in table.lines}
    assert lines["adam"][3:] == ("100.0", "100.0")
    assert lines["adam"][1] == f"{100 * (1 - share(record, ADAM, role='clean').mean()):.1f}"
    assert float(lines["nominal_mlp"][3]) < 100
    assert "adam (100)" in table.notes[0]


def test_cost_says_trials_of_what_was_tuned(make_record: Make) -> None:
    run = make_record(num_seeds=2).run
    lines = dict(cost_table(run).lines)
    assert lines["time"] == "2 min 34 s"
    assert lines["inner steps"] == "800,000"
    assert lines["trials of adam"] == "32"
    assert "trials of nominal_mlp" not in lines
    unknown = replace(run.meta_training, seconds=None, inner_steps_per_second=None)
    lines = dict(cost_table(replace(run, meta_training=unknown)).lines)
    assert lines["time"] == lines["inner steps per second"] == "–"


def test_text_has_straight_columns(make_record: Make) -> None:
    table = accuracy_table(make_record())
    laid_out = to_text(table).splitlines()[2 : 4 + len(table.lines)]
    assert len({line.index("±") for line in laid_out if "±" in line}) == 1
    assert len({len(line) for line in laid_out}) == 1


@pytest.mark.parametrize(
    ("difference", "text"), [(0.0123, "+1.2"), (-0.05, "−5.0"), (0.0, "+0.0"), (-0.0001, "+0.0")]
)
def test_points_are_signed_and_never_minus_zero(difference: float, text: str) -> None:
    assert points(difference) == text


def test_small_words() -> None:
    assert [p_value(value) for value in (0.0009, 0.001, 1.0)] == ["<0.001", "0.001", "1.000"]
    assert [duration(value) for value in (59.4, 60, 3725, None)] == [
        "59 s",
        "1 min 0 s",
        "1 h 2 min",
        "–",
    ]


def test_a_wide_table_is_cut_into_blocks_that_hold_all_of_it() -> None:
    header = tuple(f"c{place}" for place in range(20))
    wide = Table("wide", header, (tuple(map(str, range(20))),), ("a note",))
    blocks = in_blocks(wide)
    assert [len(block.header) for block in blocks] == [8, 8, 6]
    assert sum((block.header[1:] for block in blocks), ()) == header[1:]
    assert sum((block.lines[0][1:] for block in blocks), ()) == wide.lines[0][1:]
    assert [block.notes for block in blocks] == [(), (), ("a note",)]
    assert in_blocks(blocks[0]) == [blocks[0]]

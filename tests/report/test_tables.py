import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from noiseproof.report.tables import (
    accuracy_tables,
    accuracy_text,
    comparison_groups,
    comparison_table,
    cost_table,
    duration,
    held_out_table,
    optimizer_table,
    p_value,
    points,
    to_text,
)
from noiseproof.results import Improvement, ResultRow, Summary, read_results, read_summary


def load(folder: Path) -> tuple[list[ResultRow], Summary]:
    return read_results(folder / "results.csv"), read_summary(folder / "summary.json")


def test_accuracies_are_those_of_the_rows(record_folder: Callable[..., Path]) -> None:
    rows, _ = load(record_folder(num_seeds=6))
    (table,) = accuracy_tables(rows)
    line = next(line for line in table.lines if line[0] == "gaussian noise 0.5*")
    values = np.array(
        [row.accuracy for row in rows if (row.optimizer, row.strength) == ("adam", 0.5)]
    )
    # Half the width of a 95% t interval of six values, in percent.
    half = stats.t.ppf(0.975, 5) * values.std(ddof=1) / math.sqrt(6)
    expected = f"{100 * values.mean():.1f} ± {100 * half:.1f}"
    assert line[table.header.index("adam")] == expected
    assert table.notes[0] == "In percent: mean ± half of the 95% t interval, n = 6 seeds."


def test_learned_optimizers_stand_first_and_the_initial_theta_last(
    record_folder: Callable[..., Path],
) -> None:
    rows, summary = load(record_folder())
    (table,) = accuracy_tables(rows[::-1])
    assert table.header[1] == "nominal_mlp"
    assert table.header[-1] == "nominal_mlp_initial"
    assert comparison_groups(summary)[-1][0].rival == "nominal_mlp_initial"


def test_severities_are_shown_by_their_mean(record_folder: Callable[..., Path]) -> None:
    rows, summary = load(record_folder(severities=True))
    (table,) = accuracy_tables(rows)
    assert [line[0] for line in table.lines][:3] == ["clean", "gaussian noise", "shot noise"]
    fog = [row.accuracy for row in rows if (row.optimizer, row.corruption) == ("adam", "fog")]
    cell = next(line for line in table.lines if line[0] == "fog")[table.header.index("adam")]
    assert cell.startswith(f"{100 * np.mean(fog):.1f} ± ")
    assert all(made.severity is None for group in comparison_groups(summary) for made in group)


def test_diverged_runs_are_named(record_folder: Callable[..., Path]) -> None:
    rows, _ = load(record_folder(diverged=[1, 2]))
    (table,) = accuracy_tables(rows)
    assert "2 of 10 runs of sgd diverged and count as chance." in table.notes


def test_each_data_set_and_model_has_a_table(record_folder: Callable[..., Path]) -> None:
    rows, _ = load(record_folder(num_seeds=2))
    other = [row._replace(dataset="digits") for row in rows]
    titles = [table.title for table in accuracy_tables([*rows, *other])]
    assert titles == ["Accuracy on fashion with mlp", "Accuracy on digits with mlp"]
    assert all(title in accuracy_text([*rows, *other]) for title in titles)


def test_optimizers_under_different_numbers_of_seeds_say_so(
    record_folder: Callable[..., Path],
) -> None:
    rows, _ = load(record_folder(num_seeds=4))
    rows = [row for row in rows if row.optimizer != "sgd" or row.seed == 0]
    (table,) = accuracy_tables(rows)
    assert "n = 1 to 4 seeds" in table.notes[0]
    # One seed has no interval to print, a missing condition no accuracy.
    assert "±" not in table.lines[0][table.header.index("sgd")]
    without = [row for row in rows if row.optimizer != "sgd" or row.role != "clean"]
    (table,) = accuracy_tables(without)
    assert table.lines[0][table.header.index("sgd")] == "–"


def test_comparison_table_shows_difference_interval_and_verdict(
    record_folder: Callable[..., Path],
) -> None:
    _, summary = load(record_folder())
    made = summary.comparisons[0]._replace(
        learned_mean=0.7,
        rival_mean=0.6,
        difference=0.1,
        ci95=(0.05, 0.15),
        p_holm=0.0004,
        n=10,
    )
    worse = made._replace(difference=-0.1, ci95=(-0.15, -0.05), p_holm=0.049)
    undecided = made._replace(p_holm=0.05)
    single = made._replace(ci95=(math.nan, math.nan), p_holm=math.nan, n=1)
    table = comparison_table([made, worse, undecided, single])
    assert [line[1:] for line in table.lines] == [
        ("70.0", "60.0", "+10.0", "+5.0 to +15.0", "<0.001", "better"),
        ("70.0", "60.0", "−10.0", "−15.0 to −5.0", "0.049", "worse"),
        ("70.0", "60.0", "+10.0", "+5.0 to +15.0", "0.050", "open"),
        ("70.0", "60.0", "+10.0", "–", "–", "open"),
    ]
    assert "n = 1 to 10 seeds" in table.notes[0]


def test_held_out_table_is_the_summarys(record_folder: Callable[..., Path]) -> None:
    _, summary = load(record_folder())
    lines = {line[0]: line for line in held_out_table(summary).lines}
    assert set(lines) == set(summary.held_out_improved)
    improved = summary.held_out_improved["adam"]
    differences = [
        made.difference
        for made in summary.comparisons
        if made.rival == "adam" and made.role == "held_out"
    ]
    assert lines["adam"][1:] == (
        f"{improved.count} of {improved.of}",
        str(improved.significant),
        points(float(np.mean(differences))),
        f"{points(improved.ci95[0])} to {points(improved.ci95[1])}",
        p_value(improved.p_sign),
        "–",
    )
    # Records of before there were intervals are shown without.
    older = summary._replace(held_out_improved={"adam": Improvement(*improved[:3])})
    (line,) = held_out_table(older).lines
    assert line[4:] == ("–", "–", "–")
    ours = [made for made in summary.comparisons if made.rival == "adam" and made.severity is None]
    kin = [
        made._replace(role="kin", difference=difference)
        for made, difference in zip(ours, (1.0, -1.0, 0.0), strict=False)
    ]
    (line,) = held_out_table(older._replace(comparisons=kin)).lines
    assert line[6] == "1 of 3"


def test_the_last_line_is_the_mean_over_what_is_held_out(
    record_folder: Callable[..., Path],
) -> None:
    rows, _ = load(record_folder(severities=True))
    (table,) = accuracy_tables(rows)
    held_out = [r.accuracy for r in rows if (r.role, r.optimizer) == ("held_out", "adam")]
    assert table.lines[-1][0] == "mean of 12 held out"
    cell = table.lines[-1][table.header.index("adam")]
    assert cell.startswith(f"{100 * np.mean(held_out):.1f} ± ")


def test_what_is_not_held_out_is_marked_and_the_marks_explained(
    record_folder: Callable[..., Path],
) -> None:
    rows, _ = load(record_folder(severities=True))
    roles = {"fog": "validation", "shot_noise": "kin", "rotate": "meta_train"}
    rows = [row._replace(role=roles.get(row.corruption, row.role)) for row in rows]
    (table,) = accuracy_tables(rows)
    names = {line[0] for line in table.lines}
    assert {"fog‡", "shot noise†", "rotate*", "contrast", "mean of 9 held out"} <= names
    assert [note[0] for note in table.notes[1:]] == ["*", "†", "‡"]


def test_calibration_is_that_of_held_out_runs_that_did_not_diverge(
    record_folder: Callable[..., Path],
) -> None:
    rows, summary = load(record_folder())
    assert optimizer_table(summary, rows) is None  # of before they were recorded
    entries = [made._replace(train_seconds=1.5, train_bytes=2**20) for made in summary.optimizers]
    errors = {"held_out": 0.1, "meta_train": 0.9, "clean": 0.9}
    rows = [row._replace(calibration_error=errors[row.role]) for row in rows]
    rows[0] = rows[0]._replace(calibration_error=math.nan)
    table = optimizer_table(summary._replace(optimizers=entries), rows)
    assert table is not None
    assert table.lines[0][0] == "nominal_mlp"
    assert {line[2:] for line in table.lines} == {("10.0", "1.50 s", "1.0 MiB")}


def test_cost_says_trials_of_what_was_tuned(record_folder: Callable[..., Path]) -> None:
    _, summary = load(record_folder())
    lines = dict(cost_table(summary).lines)
    assert lines["time"] == "2 min 34 s"
    assert lines["inner steps"] == "800,000"
    assert lines["trials of adam"] == "32"
    assert "trials of nominal_mlp" not in lines


def test_text_has_straight_columns(record_folder: Callable[..., Path]) -> None:
    rows, _ = load(record_folder())
    (table,) = accuracy_tables(rows)
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
    assert [duration(value) for value in (59.4, 60, 3725, math.nan)] == [
        "59 s",
        "1 min 0 s",
        "1 h 2 min",
        "–",
    ]

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from noiseproof.results import (
    READERS,
    Comparison,
    CurvePoint,
    Improvement,
    LedgerLine,
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    ResultRow,
    Summary,
    append_ledger,
    append_metrics,
    has_record,
    read_curves,
    read_ledger,
    read_metrics,
    read_results,
    read_summary,
    to_json,
    truncate_metrics,
    write_curves,
    write_results,
    write_summary,
    write_text,
)

ROW = ResultRow(
    experiment="demo",
    dataset="digits",
    model="mlp",
    optimizer="learned",
    kind="learned",
    tuned_on="gaussian_noise .5",
    meta_seed=0,
    corruption="gaussian_noise",
    family="noise",
    severity=None,
    strength=0.1 + 0.2,
    role="held_out",
    seed=3,
    num_steps=500,
    accuracy=1 / 3,
    loss=1e-300,
    diverged=False,
)
LINE = MetricsLine(
    outer_step=1,
    meta_loss=2.3,
    select_loss=None,
    inner_steps=1600,
    seconds=1.5,
    snr=1.1,
    gradient_norm=0.2,
    diverged_share=0.0,
)
LEDGER_LINE = LedgerLine(
    time="2026-11-24T01:02:03+00:00",
    preset="demo",
    experiment="demo",
    dataset="digits",
    model="mlp",
    rule="nominal_mlp",
    seed=0,
    code_version="0.1.0",
    commit="unknown",
    command="noiseproof demo",
)
COMPARISON = Comparison(
    learned="learned",
    rival="adam",
    dataset="digits",
    model="mlp",
    corruption="gaussian_noise",
    family="noise",
    severity=None,
    strength=0.5,
    role="meta_train",
    learned_mean=0.7,
    rival_mean=0.6,
    difference=0.1,
    ci95=(0.05, 0.15),
    p_holm=0.01,
    n=10,
)
SUMMARY = Summary(
    experiment="demo",
    preset="demo",
    meta_training=MetaTraining(500, 800_000, 100.0, 8000.0, "2 CPU cores"),
    optimizers=[OptimizerEntry("learned", "learned", "gaussian_noise .5", 0)],
    comparisons=[COMPARISON],
    held_out_improved={"adam": Improvement(count=4, of=5, significant=3)},
    provenance=Provenance(
        code_version="0.1.0",
        commit="unknown",
        seeds={"meta": [0], "inner": [1, 2]},
        packages={"numpy": "2.0"},
        python="3.11.2",
        platform="Linux x86_64",
        device="2 CPU cores",
        command="noiseproof demo",
        config={"inner": {"num_steps": 500}},
    ),
)


def test_results_round_trip_exactly(tmp_path: Path) -> None:
    # A name with a comma, a quote and a Greek letter; a run that diverged; a clean row.
    diverged = ROW._replace(optimizer='σ, "quoted"', loss=math.inf, diverged=True, meta_seed=None)
    clean = ROW._replace(corruption="none", family="none", strength=0.0, role="clean")
    severe = ROW._replace(severity=5, strength=None)
    rows = [ROW, diverged, clean, severe]
    write_results(tmp_path / "results.csv", rows)
    assert read_results(tmp_path / "results.csv") == rows


def test_numpy_numbers_are_written_as_plain_ones(tmp_path: Path) -> None:
    # NumPy 2 prints `np.float64(0.5)`, which no reader takes for a number.
    row = ROW._replace(accuracy=np.float32(0.5), seed=np.int64(7), diverged=np.bool_(True))
    write_results(tmp_path / "results.csv", [row])
    assert read_results(tmp_path / "results.csv") == [
        ROW._replace(accuracy=0.5, seed=7, diverged=True)
    ]


def test_results_columns_are_the_documented_ones(tmp_path: Path) -> None:
    write_results(tmp_path / "results.csv", [ROW])
    header = (tmp_path / "results.csv").read_text().splitlines()[0]
    assert header == (
        "experiment,dataset,model,optimizer,kind,tuned_on,meta_seed,corruption,family,severity,"
        "strength,role,seed,num_steps,accuracy,loss,diverged,calibration_error"
    )


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("kind", "magic", "line 2, column kind: must be one of learned, initial, control, hand"),
        ("role", "test", "line 2, column role: must be one of clean, meta_train, kin, validation"),
        ("seed", "1.5", "line 2, column seed: must be a whole number, got '1.5'"),
        ("seed", "", "line 2, column seed: must be a whole number, got ''"),
        ("accuracy", "95%", "line 2, column accuracy: must be a number, got '95%'"),
        ("accuracy", "95.0", "line 2, column accuracy: must be from 0 to 1, got 95.0"),
        ("accuracy", "nan", "line 2, column accuracy: must be from 0 to 1, got nan"),
        ("severity", "6", "line 2, column severity: must be from 1 to 5, got 6"),
        ("strength", "-1", "line 2, column strength: must be at least 0, got -1.0"),
        ("diverged", "False", "line 2, column diverged: must be true or false, got 'False'"),
    ],
)
def test_bad_cell_is_named(tmp_path: Path, column: str, cell: str, message: str) -> None:
    path = tmp_path / "results.csv"
    write_results(path, [ROW])
    header, line = path.read_text().splitlines()
    cells = line.split(",")
    cells[header.split(",").index(column)] = cell
    path.write_text(f"{header}\n{','.join(cells)}\n")
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("experiment,dataset\n")
    with pytest.raises(ValueError, match=r"results\.csv, line 1: columns must be .* misses model,"):
        read_results(path)


def test_columns_in_another_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,optimizer,loss,low,high,n\n")
    with pytest.raises(ValueError, match=r"columns must be optimizer,step.* got step,optimizer"):
        read_curves(path)


def test_every_cut_of_a_table_is_noticed_or_leaves_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_results(path, [ROW, ROW._replace(seed=4)])
    text = path.read_text()
    for length in range(len(text)):
        path.write_text(text[:length])
        try:
            rows = read_results(path)
        except ValueError:
            continue
        # Only a cut behind the header or behind the first row looks like a whole file.
        assert text[length - 1] == "\n"
        assert rows == [ROW][: len(rows)]


def test_short_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("optimizer,step,loss,low,high,n\nadam,0,2.3\n")
    with pytest.raises(ValueError, match="line 2: must have 6 cells, got 3"):
        read_curves(path)


def test_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"curves\.csv: must be UTF-8 text, byte 0 is not"):
        read_curves(path)


def test_a_row_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_results(path, [ROW])
    with pytest.raises(ValueError, match="row 2, column accuracy: must be from 0 to 1"):
        write_results(path, [ROW, ROW._replace(accuracy=70.0)])
    assert read_results(path) == [ROW]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.csv"
    write_text(path, "old\n")

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new\n")
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]
    assert path.read_text() == "old\n"


def test_curves_round_trip_exactly(tmp_path: Path) -> None:
    points = [CurvePoint("adam", 0, 2.3, 2.2, 2.4, 10), CurvePoint("adam", 50, 0.1, 0.0, 0.2, 10)]
    write_curves(tmp_path / "curves.csv", points)
    assert read_curves(tmp_path / "curves.csv") == points


def test_summary_round_trips_exactly(tmp_path: Path) -> None:
    write_summary(tmp_path / "summary.json", SUMMARY)
    assert read_summary(tmp_path / "summary.json") == SUMMARY


def test_summary_holds_no_bare_nan(tmp_path: Path) -> None:
    # One seed has no interval; `NaN` would make the file no JSON for every other reader.
    single = COMPARISON._replace(ci95=(math.nan, math.nan), p_holm=math.nan, n=1)
    path = tmp_path / "summary.json"
    write_summary(path, SUMMARY._replace(comparisons=[single]))
    content = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert content["comparisons"][0]["ci95"] == [None, None]
    assert math.isnan(read_summary(path).comparisons[0].p_holm)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"hand"', '"foot"', "optimizers: 0: kind: must be one of learned, initial"),
        ('"n": 10', '"n": 0', "comparisons: 0: n: must be at least 1, got 0"),
        ('"n": 10', '"m": 10', "comparisons: 0: must hold .*; it misses n"),
        ('"n": 10', '"n": 10, "m": 1', "comparisons: 0: must hold .*; it has unknown m"),
        ('"n": 10', '"n": true', "comparisons: 0: n: must be a whole number, got True"),
        ('"n": 10', '"n": 10.5', "comparisons: 0: n: must be a whole number, got 10.5"),
        ('"of": 5', '"of": "5"', "held_out_improved: 'adam': of: must be a whole number"),
        ('"seconds": 100.0', '"seconds": "100"', "meta_training: seconds: must be a number"),
        ('"ci95": [', '"ci95": [0, ', "comparisons: 0: ci95: must be a list of 2"),
        ('"adam": {', '"sgd": [], "adam": {', "held_out_improved: 'sgd': must be an object"),
        ('"meta": [', '"x": 5, "meta": [', "provenance: seeds: 'x': must be a list, got 5"),
        ('"preset": "demo"', '"preset": 5', "preset: must be text, got 5"),
        ('{\n      "numpy": "2.0"\n    }', "5", "provenance: packages: must be an object, got 5"),
        ('"experiment": "demo",', '"experiment": "demo"', "line 3, column 3: must be JSON"),
    ],
)
def test_bad_summary_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "summary.json"
    summary = SUMMARY._replace(optimizers=[OptimizerEntry("adam", "hand", "outer loss", 32)])
    write_summary(path, summary)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        read_summary(path)
    assert "summary.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metrics_are_appended_and_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    second = LINE._replace(outer_step=2, select_loss=1.5)
    append_metrics(path, LINE)
    append_metrics(path, second)
    assert read_metrics(path) == [LINE, second]


def test_resume_drops_later_and_unfinished_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [LINE._replace(outer_step=step) for step in range(1, 6)]
    for line in lines:
        append_metrics(path, line)
    with path.open("a") as file:
        file.write('{"outer_step": 6, "meta_l')  # killed here
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 6: must end with a line break"):
        read_metrics(path)
    truncate_metrics(path, 3)
    assert read_metrics(path) == lines[:3]
    truncate_metrics(path, 0)
    assert read_metrics(path) == []
    truncate_metrics(tmp_path / "missing.jsonl", 3)
    assert not (tmp_path / "missing.jsonl").exists()


def test_bad_line_of_metrics_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_metrics(path, LINE)
    path.write_text(path.read_text() + '{"outer_step": }\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2, column 16: must be JSON"):
        truncate_metrics(path, 5)


def test_every_file_has_a_reader(tmp_path: Path) -> None:
    write_results(tmp_path / "results.csv", [ROW])
    write_summary(tmp_path / "summary.json", SUMMARY)
    append_metrics(tmp_path / "metrics.jsonl", LINE)
    write_curves(tmp_path / "curves.csv", [CurvePoint("adam", 0, 2.3, 2.2, 2.4, 10)])
    append_ledger(tmp_path / "ledger.jsonl", LEDGER_LINE)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(READERS)
    for name, read in READERS.items():
        assert read(tmp_path / name)


def test_a_ledger_grows_line_by_line(tmp_path: Path) -> None:
    second = LEDGER_LINE._replace(seed=1)
    for line in (LEDGER_LINE, second):
        append_ledger(tmp_path / "ledger.jsonl", line)
    assert read_ledger(tmp_path / "ledger.jsonl") == [LEDGER_LINE, second]


def test_records_of_before_a_field_came_can_be_read(tmp_path: Path) -> None:
    """What a version before had not: a column at the end, and fields of the summary."""
    write_results(tmp_path / "results.csv", [ROW._replace(calibration_error=0.25)])
    text = (tmp_path / "results.csv").read_text()
    (tmp_path / "results.csv").write_text(
        text.replace(",calibration_error", "").replace(",0.25\n", "\n")
    )
    assert read_results(tmp_path / "results.csv") == [ROW]
    summary = json.loads(json.dumps(to_json(SUMMARY)))
    for name in ("train_seconds", "train_bytes"):
        del summary["optimizers"][0][name]
    summary["held_out_improved"]["adam"] = {"count": 4, "of": 5, "significant": 3}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert read_summary(tmp_path / "summary.json") == SUMMARY


def test_a_record_may_be_gzipped_but_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_results(path, [ROW])
    packed = tmp_path / "results.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert has_record(path)
    assert read_results(path) == [ROW]
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"results.csv.gz must be a whole gzip file"):
        read_results(path)
    packed.unlink()
    assert not has_record(path)

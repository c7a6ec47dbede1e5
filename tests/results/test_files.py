import io
import json
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from noiseproof.results import (
    MetricsLine,
    Record,
    Samples,
    append_metrics,
    read_metrics,
    read_record,
    read_summary,
    summarize,
    truncate_metrics,
    write_record,
    write_summary,
)

LINE = MetricsLine(1, 2.25, None, 100, 1.5, 1.0, 0.25, 0.0)


def test_a_record_round_trips_in_few_bytes(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path, record)
    found = read_record(tmp_path)
    assert found.run == record.run
    assert record.trials is found.trials is None
    for wanted, read in zip(record[1:3], found[1:3], strict=True):
        for name, array in wanted._asdict().items():
            np.testing.assert_array_equal(getattr(read, name), array, err_msg=name)
    kinds = (found.scores.right.dtype, found.scores.loss.dtype, found.curves.curve.dtype)
    assert kinds == (np.uint16, np.float16, np.float32)


def test_the_same_record_gives_the_same_bytes(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path, record)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_record(tmp_path, record)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    # Every condition on a line, for eyes and for version control.
    assert before["run.json"].count(b'{"corruption":') == 3
    assert max(map(len, before["run.json"].splitlines())) < 200


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"hand"', '"foot"', "Invalid enum value 'foot' - at `$.optimizers"),
        ('"num_steps": 20', '"num_steps": 0', "Expected `int` >= 1 - at `$.num_steps`"),
        ('"num_steps": 20', '"num_steps": 2.5', "Expected `int`, got `float`"),
        ('"num_steps": 20', '"num_steps": true', "Expected `int`, got `bool`"),
        ('"num_steps": 20', '"num_steps": 1' + "0" * 400, "num_steps"),
        ('"seconds": 1.5', '"seconds": 1e999', "out of range"),
        ('"seconds": 1.5', '"seconds": NaN', "malformed"),
        ('"num_steps": 20,', "", "missing required field `num_steps`"),
        ('"num_steps": 20', '"num_steps": 20, "a\\nb": 1', "unknown field `a b`"),
        ('"num_steps": 20', '"num_steps": 20, "' + 9999 * "a" + '": 1', "unknown field `aaa"),
        ('"digits"', '"dig\\nits"', "Expected `str` matching regex"),
        ('"severity":2', '"severity":6', "<= 5 - at `$.conditions"),
        ('"severity":2', '"severity":1', "conditions must differ from each other"),
        ('"adam"', '"mine"', "optimizers must differ from each other"),
        ('"trials":0', '"trials":-1', ">= 0"),
        ('"inner":', '"inner":' + 10000 * "[" + 10000 * "]" + ',"b":', "nested too deeply"),
        ('{\n"experiment"', '{"experiment', "malformed"),
        ('"experiment": "test"', '"experiment": "t\udcffst"', "utf-8"),
        (
            '"conditions": [',
            '"conditions": [{"corruption":"a","family":"b","role":"kin"},',
            r"shape \(2, 4, 3\)",
        ),
    ],
)
def test_a_damaged_record_is_named_in_one_short_line(
    old: str, new: str, message: str, record: Record, tmp_path: Path
) -> None:
    write_record(tmp_path, record)
    text = (tmp_path / "run.json").read_text()
    assert old in text
    (tmp_path / "run.json").write_bytes(text.replace(old, new, 1).encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message.replace("$", r"\$")) as caught:
        read_record(tmp_path)
    assert tmp_path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def damaged(content: bytes, **changes: np.ndarray) -> bytes:
    with np.load(io.BytesIO(content)) as arrays:
        found = dict(arrays)
    file = io.BytesIO()
    np.savez_compressed(file, **{**found, **changes})
    return file.getvalue()


SHAPE = (2, 3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"right": np.full(SHAPE, 1001)}, "right is out of range, got 1001"),
        ({"right": np.full(SHAPE, -1)}, "right is out of range, got -1"),
        ({"right": np.zeros((2, 3, 4), int)}, r"right must be .* shape \(2, 3, 3\)"),
        ({"right": np.zeros(SHAPE)}, "right must be of kind iu"),
        ({"right": np.array(["a"], object)}, "right must be an array of numbers"),
        ({"loss": np.full(SHAPE, -1.0)}, "loss is out of range"),
        ({"calibration_error": np.full(SHAPE, 2.0)}, "calibration_error is out of range"),
        ({"diverged": np.zeros(SHAPE, bool)}, "diverged must be"),
        ({"step": np.zeros((1, 2), int)}, "step must be"),
        ({"step": np.zeros(3, int)}, r"curve must be .* shape \(2, 3\)"),
    ],
)
def test_arrays_must_be_as_the_run_says(
    changes: dict[str, np.ndarray], message: str, record: Record, tmp_path: Path
) -> None:
    write_record(tmp_path, record)
    path = tmp_path / "results.npz"
    path.write_bytes(damaged(path.read_bytes(), **changes))
    with pytest.raises(ValueError, match=f"results.npz: {message}"):
        read_record(tmp_path)


def test_no_damaged_archive_is_believed_or_ends_otherwise_than_in_one_line(
    record: Record, tmp_path: Path
) -> None:
    write_record(tmp_path, record)
    path = tmp_path / "results.npz"
    content, generator = path.read_bytes(), np.random.default_rng(0)
    for number in range(300):
        bytes_ = bytearray(content)
        if number % 2:
            bytes_[generator.integers(len(bytes_))] ^= 1 << generator.integers(8)
        else:
            bytes_ = bytes_[: generator.integers(len(bytes_))]
        path.write_bytes(bytes_)
        try:
            found = read_record(tmp_path)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        # A flipped bit may lie where nothing depends on it, such as a date.
        np.testing.assert_array_equal(found.scores.right, record.scores.right)


def test_an_archive_that_promises_more_than_any_record_is_not_read(
    record: Record, tmp_path: Path
) -> None:
    write_record(tmp_path, record)
    with zipfile.ZipFile(tmp_path / "results.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("right.npy", bytes(100_000_001))
    with pytest.raises(ValueError, match="right must hold at most 100000000 bytes"):
        read_record(tmp_path)


def shown(record: Record, **changes: np.ndarray) -> Record:
    """The record with two images under two of its conditions."""
    images = np.arange(2 * 2 * 12, dtype=np.uint8).reshape(2, 2, 2, 2, 3)
    said = np.array([[[3, 9], [-1, -1]], [[3, 1], [0, 2]]])
    samples = Samples(images, np.array([3, 9]), np.array([0, 2]), said)
    return record._replace(samples=samples._replace(**changes))


def test_samples_round_trip_and_older_records_have_none(record: Record, tmp_path: Path) -> None:
    """Catches classes of two bytes cut to one, and a place of a condition that there is not."""
    write_record(tmp_path, record)
    assert read_record(tmp_path).samples is None
    write_record(tmp_path, shown(record))
    found, wanted = read_record(tmp_path).samples, shown(record).samples
    assert found is not None
    assert wanted is not None
    for name, array in wanted._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), array, err_msg=name)
    for name, array in {
        "sample_condition": np.array([0, 3]),
        "sample_label": np.array([0, 10]),
        "sample_class": np.full((2, 2, 2), -2),
        "sample_image": np.zeros((2, 2, 2, 2, 4), np.uint8),
    }.items():
        with pytest.raises(ValueError, match=name):
            write_record(tmp_path, shown(record, **{name: array}))


def test_what_could_not_be_read_is_not_written(record: Record, tmp_path: Path) -> None:
    run = msgspec.structs.replace(record.run, dataset="two\nlines")
    with pytest.raises(ValueError, match="dataset"):
        write_record(tmp_path, record._replace(run=run))
    scores = record.scores._replace(right=record.scores.right + 2000)
    with pytest.raises(ValueError, match="right is out of range"):
        write_record(tmp_path, record._replace(scores=scores))
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path, record)
    (tmp_path / "results.npz").unlink()
    (tmp_path / "results.npz").mkdir()
    with pytest.raises(ValueError, match=r"hold run.json and results.npz, results.npz is missing"):
        read_record(tmp_path)


def test_a_loss_beyond_two_bytes_is_infinite(record: Record, tmp_path: Path) -> None:
    loss = record.scores.loss.copy()
    loss[0, 0] = 1e30
    write_record(tmp_path, record._replace(scores=record.scores._replace(loss=loss)))
    assert np.isinf(read_record(tmp_path).scores.loss[0, 0]).all()


def test_a_summary_round_trips_and_is_json_for_every_reader(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_summary(path, summarize(record))
    assert read_summary(path) == summarize(record)
    content = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert content["held_out_improved"]["adam"]["of"] == 1
    path.write_text(path.read_text().replace('"n":3', '"n":0', 1))
    with pytest.raises(ValueError, match=r"summary\.json: Expected `int` >= 1"):
        read_summary(path)


def test_metrics_are_appended_and_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    second = msgspec.structs.replace(LINE, outer_step=2, select_loss=1.5)
    append_metrics(path, LINE)
    append_metrics(path, second)
    append_metrics(path, msgspec.structs.replace(LINE, meta_loss=float("nan")))
    assert read_metrics(path) == [LINE, second, msgspec.structs.replace(LINE, meta_loss=None)]


def test_resume_drops_later_and_unfinished_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [msgspec.structs.replace(LINE, outer_step=step) for step in range(1, 6)]
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


def test_a_bad_line_of_metrics_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_metrics(path, LINE)
    path.write_text(path.read_text() + '{"outer_step": }\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: JSON is malformed"):
        truncate_metrics(path, 5)

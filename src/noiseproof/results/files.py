"""The files of a record folder, written whole or not at all, checked as they are read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from noiseproof.files import read_whole, write_whole
from noiseproof.results.arrays import read_arrays, write_arrays
from noiseproof.results.decoding import decode, encode
from noiseproof.results.schema import MetricsLine, Record, Run, Summary

RUN_FILE, ARRAYS_FILE = "run.json", "results.npz"
SUMMARY_FILE, METRICS_FILE = "summary.json", "metrics.jsonl"


def write_record(folder: Path, record: Record) -> None:
    """Writes `run.json` and `results.npz`, each in one move.

    Raises:
        ValueError: Something could not be read again; nothing was written.
    """
    path = folder / RUN_FILE
    content = encode(record.run)
    _check_names(decode(content, Run, str(path)), path)
    write_arrays(folder / ARRAYS_FILE, record)
    write_whole(path, content)


def read_record(folder: Path) -> Record:
    """Reads `run.json` and `results.npz`.

    Raises:
        ValueError: One is missing, damaged, or not as the schema says; the message names the file.
    """
    if not folder.is_dir():
        raise ValueError(f"The folder {folder} is missing.")
    for name in (RUN_FILE, ARRAYS_FILE):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} must hold {RUN_FILE} and {ARRAYS_FILE}, {name} is missing.")
    run = read_run(folder / RUN_FILE)
    return Record(run, *read_arrays(folder / ARRAYS_FILE, run))


def read_run(path: Path) -> Run:
    """Reads `run.json`; errors as in `read_record`."""
    run = decode(read_whole(path), Run, str(path))
    _check_names(run, path)
    return run


def write_summary(path: Path, summary: Summary) -> None:
    """Writes `summary.json` in one move."""
    write_whole(path, encode(summary))


def read_summary(path: Path) -> Summary:
    """Reads `summary.json`; errors as in `read_record`."""
    return decode(read_whole(path), Summary, str(path))


def append_metrics(path: Path, line: MetricsLine) -> None:
    """Adds a line to `metrics.jsonl`, out of this process's buffers when the call returns."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def read_metrics(path: Path) -> list[MetricsLine]:
    """Reads `metrics.jsonl`; errors as in `read_record`, a cut-off last line among them."""
    lines = read_whole(path).split(b"\n")
    if lines[-1]:
        raise ValueError(f"{path}, line {len(lines)}: must end with a line break; it is cut off.")
    return [_metrics_line(path, number, text) for number, text in enumerate(lines[:-1], 1)]


def truncate_metrics(path: Path, outer_step: int) -> None:
    """Keeps the lines up to `outer_step`, for a run that resumes there.

    A last line that a killed process left unfinished goes too. A missing file stays missing.

    Raises:
        ValueError: A whole line is not as the schema says.
    """
    if not path.exists():
        return
    *whole, _unfinished = read_whole(path).split(b"\n")
    kept = [
        text + b"\n"
        for number, text in enumerate(whole, 1)
        if _metrics_line(path, number, text).outer_step <= outer_step
    ]
    write_whole(path, b"".join(kept))


READERS: Mapping[str, Callable[[Path], Any]] = {
    RUN_FILE: read_run,
    ARRAYS_FILE: lambda path: read_record(path.parent),
    SUMMARY_FILE: read_summary,
    METRICS_FILE: read_metrics,
}
"""How a file of a record folder is read and so checked, by its name."""


def _metrics_line(path: Path, number: int, text: bytes) -> MetricsLine:
    return decode(text, MetricsLine, f"{path}, line {number}")


def _check_names(run: Run, path: Path) -> None:
    """Raises ValueError where two places of an axis have the same name."""
    axes = {
        "optimizers": [entry.name for entry in run.optimizers],
        "conditions": run.conditions,
        "seeds": run.seeds,
    }
    for axis, names in axes.items():
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: {axis} must differ from each other, but some are the same.")

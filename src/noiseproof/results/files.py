"""The files of a record folder, written whole or not at all, read with every cell checked."""

import csv
import gzip
import io
import json
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from noiseproof.results.schema import CurvePoint, LedgerLine, MetricsLine, ResultRow, Summary
from noiseproof.results.values import check_range, from_cell, from_json, to_cell, to_json

Record = TypeVar("Record", ResultRow, CurvePoint)


def write_results(path: Path, rows: Iterable[ResultRow]) -> None:
    """Write `results.csv` in one move: a reader sees the old file or the new one."""
    _write_table(path, ResultRow, rows)


def read_results(path: Path) -> list[ResultRow]:
    """Read `results.csv`.

    Raises:
        ValueError: The file is not as the schema says; the message names file, line and column.
    """
    return _read_table(path, ResultRow)


def write_curves(path: Path, points: Iterable[CurvePoint]) -> None:
    """Write `curves.csv` in one move."""
    _write_table(path, CurvePoint, points)


def read_curves(path: Path) -> list[CurvePoint]:
    """Read `curves.csv`; errors as in `read_results`."""
    return _read_table(path, CurvePoint)


def write_summary(path: Path, summary: Summary) -> None:
    """Write `summary.json` in one move."""
    text = json.dumps(to_json(summary), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_summary(path: Path) -> Summary:
    """Read `summary.json`.

    Raises:
        ValueError: The file is cut off, no JSON, or not as the schema says; the message names the
            file and the line or the field.
    """
    return _parse_json(path, _read_text(path), Summary, first_line=1)


def append_metrics(path: Path, line: MetricsLine) -> None:
    """Add a line to `metrics.jsonl`, out of this process's buffers when the call returns."""
    _append_line(path, line)


def append_ledger(path: Path, line: LedgerLine) -> None:
    """Add a line to a ledger, out of this process's buffers when the call returns."""
    _append_line(path, line)


def read_ledger(path: Path) -> list[LedgerLine]:
    """Read a ledger; errors as in `read_summary`."""
    return _read_lines(path, LedgerLine)


def _append_line(path: Path, line: MetricsLine | LedgerLine) -> None:
    text = json.dumps(to_json(line), ensure_ascii=False, allow_nan=False)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text + "\n")


def read_metrics(path: Path) -> list[MetricsLine]:
    """Read `metrics.jsonl`; errors as in `read_summary`, a cut-off last line among them."""
    return _read_lines(path, MetricsLine)


def _read_lines(path: Path, kind: Any) -> list[Any]:
    lines = _whole_lines(path)
    return [_parse_json(path, text, kind, first_line=i) for i, text in enumerate(lines, 1)]


def truncate_metrics(path: Path, outer_step: int) -> None:
    """Keep the lines up to `outer_step`, for a run that resumes there.

    A last line that a killed process left unfinished goes too. A missing file stays missing.

    Raises:
        ValueError: A whole line is not as the schema says.
    """
    if not path.exists():
        return
    whole, ended, _unfinished = _read_text(path).rpartition("\n")
    kept = [
        text
        for number, text in enumerate(whole.split("\n") if ended else [], 1)
        if _parse_json(path, text, MetricsLine, first_line=number).outer_step <= outer_step
    ]
    write_text(path, "".join(text + "\n" for text in kept))


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole or, if anything fails, not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file readable by its owner alone; records are for everyone.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


READERS: Mapping[str, Callable[[Path], Any]] = {
    "results.csv": read_results,
    "summary.json": read_summary,
    "metrics.jsonl": read_metrics,
    "curves.csv": read_curves,
    "ledger.jsonl": read_ledger,
}
"""How a file of a record folder is read and so checked, by its name."""


def _write_table(path: Path, record: type[Record], rows: Iterable[Record]) -> None:
    hints = get_type_hints(record)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(record._fields)
    for number, row in enumerate(rows, 1):
        cells = [to_cell(value, hints[name]) for name, value in row._asdict().items()]
        # What could not be read again is not written.
        _parse_row(record._fields, cells, record, hints, f"{path}, row {number}")
        writer.writerow(cells)
    write_text(path, text.getvalue())


def _read_table(path: Path, record: type[Record]) -> list[Record]:
    reader = csv.reader(_whole_lines(path))
    header = next(reader, [])
    # Columns with a default came with a later version; older records do not have them.
    needed = [name for name in record._fields if name not in record._field_defaults]
    if header != [name for name in record._fields if name in needed or name in header]:
        missing = [name for name in needed if name not in header]
        what = f"it misses {', '.join(missing)}" if missing else f"got {','.join(header)}"
        raise ValueError(f"{path}, line 1: columns must be {','.join(record._fields)}; {what}.")
    hints = get_type_hints(record)
    return [
        _parse_row(header, cells, record, hints, f"{path}, line {line}")
        for line, cells in enumerate(reader, 2)
    ]


def _parse_row(
    columns: Sequence[str],
    cells: list[str],
    record: type[Record],
    hints: Mapping[str, Any],
    place: str,
) -> Record:
    if len(cells) != len(columns):
        raise ValueError(f"{place}: must have {len(columns)} cells, got {len(cells)}.")
    values = {}
    for name, text in zip(columns, cells, strict=True):
        try:
            values[name] = from_cell(text, hints[name])
            check_range(name, values[name])
        except ValueError as error:
            raise ValueError(f"{place}, column {name}: {error}") from None
    return record(**values)


def _parse_json(path: Path, text: str, kind: Any, *, first_line: int) -> Any:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise ValueError(
            f"{path}, line {line}, column {error.colno}: must be JSON, {error.msg}."
        ) from None
    try:
        return from_json(content, kind)
    except ValueError as error:
        raise ValueError(f"{path}, line {first_line}: {error}") from None


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file of which every one, the last included, must be ended."""
    text = _read_text(path)
    if text and not text.endswith("\n"):
        last = text.count("\n") + 1
        raise ValueError(f"{path}, line {last}: must end with a line break; the file is cut off.")
    return text.split("\n")[:-1]


def has_record(path: Path) -> bool:
    """Whether there is such a file, or a gzipped one in its place."""
    return path.is_file() or gzipped(path).is_file()


def gzipped(path: Path) -> Path:
    """Where a record lies that is gzipped: `results.csv.gz` for `results.csv`."""
    return path.with_name(f"{path.name}.gz")


def _read_bytes(path: Path) -> bytes:
    if path.exists() or not gzipped(path).is_file():
        return path.read_bytes()
    try:
        return gzip.decompress(gzipped(path).read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{gzipped(path)} must be a whole gzip file: {error}.") from None


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, byte {error.start} is not.") from None

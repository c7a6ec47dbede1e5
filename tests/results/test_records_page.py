import re
from pathlib import Path

import pytest

from noiseproof.results import (
    READERS,
    Comparison,
    Condition,
    Curves,
    Improvement,
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    Run,
    Samples,
    Scores,
    Study,
    Summary,
    Trials,
    TuningCost,
)
from noiseproof.results.study import ARRAYS, STUDY_FILE

PAGE = Path(__file__).parents[2] / "docs" / "records.md"
SECTIONS = {
    "run.json": [Run, MetaTraining, Provenance, OptimizerEntry, Condition],
    "results.npz": [Scores, Curves, Trials, Samples],
    "metrics.jsonl": [MetricsLine],
    "summary.json": [Summary, Comparison, Improvement, TuningCost],
    "study.json": [Study],
}


def fields(section: str) -> set[str]:
    """The fields of a file's types."""
    return {
        name
        for kind in SECTIONS[section]
        for name in getattr(kind, "__struct_fields__", None) or kind._fields
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_is_explained_and_none_that_is_gone(section: str) -> None:
    (text,) = re.findall(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S
    )
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([^`]+)`", "\n".join(lines)))
    assert fields(section) <= named
    first = {name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert first <= fields(section)


def test_every_file_has_a_section() -> None:
    assert set(SECTIONS) == {*READERS, STUDY_FILE}


def test_every_array_of_a_study_is_explained_by_its_axes() -> None:
    text = PAGE.read_text("utf-8").partition("\n## study.npz\n")[2]
    rows = dict(re.findall(r"^\| (`.*?`) \| (.*?) \| ", text, re.M))
    found = {name: axes for names, axes in rows.items() for name in re.findall(r"`(\w+)`", names)}
    assert found == {name: ", ".join(axes) for name, axes in ARRAYS.items()}

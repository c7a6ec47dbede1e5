import re
from pathlib import Path

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
)

PAGE = Path(__file__).parents[2] / "docs" / "records.md"
SECTIONS = {
    "results.csv": [ResultRow],
    "summary.json": [
        Summary,
        MetaTraining,
        OptimizerEntry,
        Comparison,
        Improvement,
        Provenance,
    ],
    "metrics.jsonl": [MetricsLine],
    "curves.csv": [CurvePoint],
    "ledger.jsonl": [LedgerLine],
}


def named(section: str) -> set[str]:
    """What stands in backticks in the tables of one section."""
    (text,) = re.findall(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return set(re.findall(r"`([^`]+)`", "\n".join(lines)))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_is_explained_in_its_files_section(section: str) -> None:
    fields = {field for record in SECTIONS[section] for field in record._fields}
    assert fields <= named(section)


@pytest.mark.parametrize("section", ["metrics.jsonl", "curves.csv", "ledger.jsonl"])
def test_no_field_is_explained_that_is_gone(section: str) -> None:
    text = PAGE.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]+) \|", text, re.M)
    explained = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert explained == {field for record in SECTIONS[section] for field in record._fields}


def test_every_file_has_a_section() -> None:
    assert set(SECTIONS) == set(READERS)

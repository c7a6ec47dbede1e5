"""Records of what was run: tidy CSV and JSON, in and out, checked both ways.

A folder of records holds `results.csv` (one row per trained classifier and test condition),
`summary.json` (what the rows say), `metrics.jsonl` (meta-training, one line per outer step) and
`curves.csv` (inner training). Tables and figures are made from these files alone.
"""

from noiseproof.results.conditions import Accuracies, Condition, accuracies, condition_words
from noiseproof.results.files import (
    READERS,
    append_ledger,
    append_metrics,
    has_record,
    read_curves,
    read_ledger,
    read_metrics,
    read_results,
    read_summary,
    truncate_metrics,
    write_curves,
    write_results,
    write_summary,
    write_text,
)
from noiseproof.results.intervals import Interval, mean_interval, standard_error
from noiseproof.results.provenance import collect_provenance, portable_command
from noiseproof.results.schema import (
    Comparison,
    CurvePoint,
    Improvement,
    Kind,
    LedgerLine,
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    ResultRow,
    Role,
    Summary,
)
from noiseproof.results.values import to_json

__all__ = [
    "READERS",
    "Accuracies",
    "Comparison",
    "Condition",
    "CurvePoint",
    "Improvement",
    "Interval",
    "Kind",
    "LedgerLine",
    "MetaTraining",
    "MetricsLine",
    "OptimizerEntry",
    "Provenance",
    "ResultRow",
    "Role",
    "Summary",
    "accuracies",
    "append_ledger",
    "append_metrics",
    "collect_provenance",
    "condition_words",
    "has_record",
    "mean_interval",
    "portable_command",
    "read_curves",
    "read_ledger",
    "read_metrics",
    "read_results",
    "read_summary",
    "standard_error",
    "to_json",
    "truncate_metrics",
    "write_curves",
    "write_results",
    "write_summary",
    "write_text",
]

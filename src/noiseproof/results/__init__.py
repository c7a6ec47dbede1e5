"""Records of what was run: tidy CSV and JSON, in and out, checked both ways.

A folder of records holds `results.csv` (one row per trained classifier and test condition),
`summary.json` (what the rows say), `metrics.jsonl` (meta-training, one line per outer step) and
`curves.csv` (inner training). Tables and figures are made from these files alone.
"""

from noiseproof.results.files import (
    READERS,
    append_metrics,
    read_curves,
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
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    ResultRow,
    Role,
    Summary,
)

__all__ = [
    "READERS",
    "Comparison",
    "CurvePoint",
    "Improvement",
    "Interval",
    "Kind",
    "MetaTraining",
    "MetricsLine",
    "OptimizerEntry",
    "Provenance",
    "ResultRow",
    "Role",
    "Summary",
    "append_metrics",
    "collect_provenance",
    "mean_interval",
    "portable_command",
    "read_curves",
    "read_metrics",
    "read_results",
    "read_summary",
    "standard_error",
    "truncate_metrics",
    "write_curves",
    "write_results",
    "write_summary",
    "write_text",
]

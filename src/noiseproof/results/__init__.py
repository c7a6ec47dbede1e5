"""Records of what was run: numbers and names, in and out, checked both ways.

A folder of records holds `run.json` (what was run), `results.npz` (what every classifier reached,
and learning curves) and `metrics.jsonl` (meta-training, one line per outer step). `summary.json`,
tables and figures are made from these files alone.
"""

from noiseproof.results.comparison import (
    compare,
    core,
    held_out_improved,
    places,
    significant,
    strongest_rival,
    summarize,
)
from noiseproof.results.conditions import Accuracies, accuracies
from noiseproof.results.files import (
    READERS,
    append_metrics,
    read_metrics,
    read_record,
    read_run,
    read_summary,
    truncate_metrics,
    write_record,
    write_summary,
)
from noiseproof.results.intervals import Interval, mean_interval, ratio_interval, standard_error
from noiseproof.results.metrics import RobustnessMetrics, robustness_metrics
from noiseproof.results.provenance import collect_provenance, portable_command
from noiseproof.results.schema import (
    Comparison,
    Condition,
    Curves,
    Improvement,
    Kind,
    MetaTraining,
    MetricsLine,
    OptimizerEntry,
    Provenance,
    Record,
    Role,
    Run,
    Scores,
    Summary,
    Trials,
    TuningCost,
)
from noiseproof.results.statistics import PairedTest, paired_test
from noiseproof.results.study import Study, StudyRecord, read_study, write_study
from noiseproof.results.trials import (
    expected_best,
    nested_violations,
    trial_curve,
    trials_to_reach,
    tuning_costs,
)

__all__ = [
    "READERS",
    "Accuracies",
    "Comparison",
    "Condition",
    "Curves",
    "Improvement",
    "Interval",
    "Kind",
    "MetaTraining",
    "MetricsLine",
    "OptimizerEntry",
    "PairedTest",
    "Provenance",
    "Record",
    "RobustnessMetrics",
    "Role",
    "Run",
    "Scores",
    "Study",
    "StudyRecord",
    "Summary",
    "Trials",
    "TuningCost",
    "accuracies",
    "append_metrics",
    "collect_provenance",
    "compare",
    "core",
    "expected_best",
    "held_out_improved",
    "mean_interval",
    "nested_violations",
    "paired_test",
    "places",
    "portable_command",
    "ratio_interval",
    "read_metrics",
    "read_record",
    "read_run",
    "read_study",
    "read_summary",
    "robustness_metrics",
    "significant",
    "standard_error",
    "strongest_rival",
    "summarize",
    "trial_curve",
    "trials_to_reach",
    "truncate_metrics",
    "tuning_costs",
    "write_record",
    "write_study",
    "write_summary",
]

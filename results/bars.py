"""What the committed records say, as the table of `README.md`, from these records alone.

    python results/bars.py

Counted are, each by its mean over severities, of `spectral` the named corruptions outside the noise
family that no rule was developed on, whether held out or kin of what the outer loss showed; of
`families` those that the fold holds out; of the experiments on one noise scale, all six scales.
Differences are in points of accuracy, the learned optimizer less a rival, with half of the 95%
interval, paired by seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from noiseproof.results import (
    Comparison,
    Condition,
    Summary,
    accuracies,
    mean_interval,
    read_results,
    read_summary,
)

FOLDER = Path(__file__).parent
Table: TypeAlias = Mapping[str, Mapping[int, float]]
"""The accuracies on one condition, by optimizer and seed."""

HEADER = (
    *("record", "clean, against Adam", "better than Adam on", "significantly", "accuracy"),
    "against Adam",
    *("AdamW", "itself before", "on clean images", "the strongest rival"),
)


def counted(condition: Condition | Comparison, experiment: str) -> bool:
    """Whether a condition stands for what is asked: see above."""
    if experiment == "gaussian":
        return bool(condition.strength)
    named = condition.severity is None and condition.strength is None
    if experiment == "families":
        return named and condition.role == "held_out"
    return named and condition.family != "noise" and condition.role in ("held_out", "kin")


def line(name: str, folders: Sequence[Path]) -> list[str]:
    """The cells of one record, or of several folds together, each corruption from one of them."""
    summaries = [read_summary(folder / "summary.json") for folder in folders]
    records = [accuracies(read_results(folder / "results.csv")) for folder in folders]
    experiment = summaries[0].experiment
    kinds = {made.name: made.kind for made in summaries[0].optimizers}
    (learned,) = (name for name, kind in kinds.items() if kind == "learned")
    tables = [item for record in records for item in record.items()]
    clean = [table for condition, table in tables if condition.role == "clean"]
    core = [table for condition, table in tables if counted(condition, experiment)]

    def against(rival: str, tables: Sequence[Table]) -> str:
        seeds = sorted(tables[0][learned])
        gains = [[one[learned][seed] - one[rival][seed] for one in tables] for seed in seeds]
        found = mean_interval(100 * np.array(gains).mean(axis=1))
        return f"{found.mean:+.1f} ± {found.high - found.mean:.1f}"

    def mean(name: str) -> float:
        return float(np.mean([list(table[name].values()) for table in core]))

    def first(kind: str) -> str:
        names = [name for name in kinds if kinds[name] == kind]
        return against(names[0], core) if names else "–"

    adam = [
        made
        for summary in summaries
        for made in adam_comparisons(summary)
        if counted(made, experiment)
    ]
    better = [made for made in adam if made.difference > 0]
    strongest = max((name for name in kinds if kinds[name] == "hand"), key=mean)
    return [
        name,
        against("adam", clean),
        f"{len(better)} of {len(adam)}",
        str(sum(made.p_holm < 0.05 for made in better)),
        f"{100 * mean(learned):.1f}",
        against("adam", core),
        against("adamw", core),
        first("initial"),
        first("control"),
        f"{strongest} {against(strongest, core)}",
    ]


def adam_comparisons(summary: Summary) -> list[Comparison]:
    """Those with tuned Adam; single severities, which strengths are not, are left out."""
    return [made for made in summary.comparisons if made.rival == "adam" and not made.severity]


def main() -> None:
    """Prints the table."""
    folders = sorted(path.parent for path in FOLDER.rglob("summary.json"))
    lines = [line(folder.relative_to(FOLDER).as_posix(), [folder]) for folder in folders]
    for preset in sorted({folder.parent for folder in folders if folder.name.startswith("fold-")}):
        name = preset.relative_to(FOLDER).as_posix()
        lines.append(line(f"{name}, all folds", sorted(preset.glob("fold-*"))))
    for cells in (HEADER, ["---"] * len(HEADER), *lines):
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()

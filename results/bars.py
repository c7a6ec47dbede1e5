"""What the committed records say, as the table of `README.md`, from these records alone.

    python results/bars.py

Counted are, each by its mean over severities, of `spectral` the named corruptions outside the noise
family that no rule was developed on, whether held out or kin of what the outer loss showed; of
`families` those that the fold holds out; of the experiments on one noise scale, all six scales.
Differences are in points of accuracy, the learned optimizer less a rival, with half of the 95%
interval, paired by seed.
"""

from collections.abc import Sequence
from pathlib import Path

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
HEADER = (
    *("record", "clean, against Adam", "better than Adam on", "significantly", "against Adam"),
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


def line(folder: Path) -> list[str]:
    """The cells of one record."""
    summary = read_summary(folder / "summary.json")
    by_condition = accuracies(read_results(folder / "results.csv"))
    kinds = {made.name: made.kind for made in summary.optimizers}
    (learned,) = (name for name, kind in kinds.items() if kind == "learned")
    clean = [each for each in by_condition if each.role == "clean"]
    core = [each for each in by_condition if counted(each, summary.experiment)]

    def against(rival: str, conditions: Sequence[Condition]) -> str:
        tables = [by_condition[each] for each in conditions]
        seeds = sorted(tables[0][learned])
        gains = [[one[learned][seed] - one[rival][seed] for one in tables] for seed in seeds]
        found = mean_interval(100 * np.array(gains).mean(axis=1))
        return f"{found.mean:+.1f} ± {found.high - found.mean:.1f}"

    def mean(name: str) -> float:
        return float(np.mean([list(by_condition[each][name].values()) for each in core]))

    def first(kind: str) -> str:
        names = [name for name in kinds if kinds[name] == kind]
        return against(names[0], core) if names else "–"

    adam = [made for made in adam_comparisons(summary) if counted(made, summary.experiment)]
    better = [made for made in adam if made.difference > 0]
    strongest = max((name for name in kinds if kinds[name] == "hand"), key=mean)
    return [
        folder.relative_to(FOLDER).as_posix(),
        against("adam", clean),
        f"{len(better)} of {len(adam)}",
        str(sum(made.p_holm < 0.05 for made in better)),
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
    lines = [line(path.parent) for path in sorted(FOLDER.rglob("summary.json"))]
    for cells in (HEADER, ["---"] * len(HEADER), *lines):
        print("|", " | ".join(cells), "|")


if __name__ == "__main__":
    main()

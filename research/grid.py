"""The grid that one rule for any classifier is judged on: data, sizes and runs it never met.

Every cell is `noiseproof evaluate NAME` with settings of its own: theta as it is, against rivals
with the settings of where theta was meta-trained (transferred), and tuned on the cell itself.

    python research/grid.py universal --out results/grid --data-dir DATA --cells 'twice as wide'
    python research/grid.py universal --out results/grid --table

makes what is missing of the cells that are named (all by default, the cheapest first), and prints a
table of those that are there: mean accuracy over the named corruptions outside the noise family in
percent, ± half of the 95% interval over seeds, and the mean rank over cells.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from noiseproof.commands.evaluate import evaluate
from noiseproof.results import Record, accuracies, mean_interval, read_record

RIVALS = ("adam", "adamw", "muon", "decayed_muon")


class Cell(NamedTuple):
    """Attributes: settings over the preset's own; trials of a rival; inner seeds."""

    settings: tuple[str, ...]
    num_trials: int = 32
    num_seeds: int = 5


NARROW, RUN = "model.channels=[4,8,16]", "inner.num_steps"
BATCH_NORM = ("model.kind=resnet", "model.norm=batch", "inner.batch_size=128")
CELLS = {
    "perceptron of 512": Cell(
        ("model.kind=mlp", "model.hidden_sizes=[512]", f"{RUN}=600"), num_seeds=10
    ),
    "a quarter as wide": Cell((NARROW,), num_seeds=10),
    "half the run": Cell((f"{RUN}=500", "model.channels=[8,16,32]"), num_seeds=10),
    "ten times the run": Cell((NARROW, f"{RUN}=10000"), num_trials=16),
    "four times the batch": Cell((NARROW, "inner.batch_size=256"), num_seeds=10),
    "group norm": Cell((NARROW, "model.norm=group"), num_seeds=10),
    "perceptron on MNIST at 28": Cell(
        ("model.kind=mlp", "model.hidden_sizes=[64,64]", "data.name=mnist", "data.image_size=28"),
        num_seeds=10,
    ),
    "500 images": Cell(("data.num_images=500", "model.channels=[8,16,32]"), num_seeds=10),
    "three times as deep": Cell(("model.channels=[8,8,8,16,16,16,32,32,32]",)),
    "Fashion-MNIST at 28": Cell(("data.image_size=28", "model.channels=[8,16,32]")),
    "five times the run": Cell((f"{RUN}=5000", "model.channels=[8,16,32]"), num_trials=16),
    "CIFAR-10 at 32": Cell(
        ("data.name=cifar-10", "data.image_size=32", "model.channels=[8,16,32]", f"{RUN}=2000"),
        num_trials=16,
    ),
    "four times as wide": Cell(("model.channels=[64,128,256]",), 16, 3),
    "resnet of 8 on CIFAR-10 at 32": Cell(
        (*BATCH_NORM, "model.depth=8", "data.name=cifar-10", "data.image_size=32", f"{RUN}=1600"),
        16,
        3,
    ),
    "resnet of 20 on CIFAR-10 at 32": Cell(
        (*BATCH_NORM, "model.depth=20", "data.name=cifar-10", "data.image_size=32", f"{RUN}=1600"),
        16,
        3,
    ),
}
"""By name, the cheapest first. The preset's own problem is a convnet of 16, 32 and 64 channels on
Fashion-MNIST at 14×14, 1,000 steps of 64 images."""


def folder_of(out: Path, name: str) -> Path:
    return out / name.replace(" ", "-").lower()


def settings_of(cell: Cell) -> list[str]:
    """All that is laid over the settings of meta-training."""
    return [
        *cell.settings,
        f"tuning.rivals={list(RIVALS)}".replace("'", '"'),
        f"tuning.num_trials={cell.num_trials}",
        "tuning.num_finalists=4",
        "tuning.num_final_runs=4",
        f"evaluation.num_seeds={cell.num_seeds}",
    ]


def corrupted_accuracy(record: Record) -> dict[str, np.ndarray]:
    """By optimizer, the mean over the counted corruptions for every seed, in percent."""
    table = np.stack(
        [
            values
            for condition, values in accuracies(record).items()
            if condition.severity is None
            and condition.strength is None
            and condition.family != "noise"
            and condition.role in ("held_out", "kin")
        ]
    )
    names = [optimizer.name for optimizer in record.run.optimizers]
    return dict(zip(names, 100 * table.mean(axis=0), strict=True))


def table(out: Path) -> str:
    """The cells that are there, a row each, and the mean rank of every optimizer."""
    rows, ranks = [], []
    for name in CELLS:
        if not (folder_of(out, name) / "run.json").exists():
            continue
        found = corrupted_accuracy(read_record(folder_of(out, name)))
        means = [values.mean() for values in found.values()]
        ranks.append(np.argsort(np.argsort(means)[::-1]) + 1)
        cells = [mean_interval(values) for values in found.values()]
        texts = (f"{one.mean:.1f} ± {one.high - one.mean:.1f}" for one in cells)
        if not rows:
            rows = ["| cell | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
        rows.append(f"| {name} | " + " | ".join(texts) + " |")
    if ranks:
        mean = np.mean(ranks, axis=0)
        rows.append("| mean rank | " + " | ".join(f"{rank:.2f}" for rank in mean) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Judges a learned optimizer on the grid.")
    parser.add_argument("optimizer", help="a shipped name, a folder of a run or a file")
    parser.add_argument("--out", type=Path, required=True, help="a folder for every cell")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=list(CELLS), metavar="CELL")
    parser.add_argument("--table", action="store_true", help="of what is there, and no more")
    options = parser.parse_args()
    for name in [] if options.table else options.cells:
        folder = folder_of(options.out, name)
        if not (folder / "run.json").exists():
            console, cell = Console(), CELLS[name]
            evaluate(
                options.optimizer,
                settings_of(cell),
                folder,
                console,
                seed=0,
                data_dir=options.data_dir,
                resume=folder.exists(),
            )
    print(table(options.out))


if __name__ == "__main__":
    main()

"""The grid that one rule for any classifier is judged on: data, sizes and runs it never met.

Every cell is `noiseproof evaluate NAME` with settings of its own: theta as it is, against rivals
with the settings of where theta was meta-trained (transferred), and tuned on the cell itself.

    python research/grid.py universal --out results/grid --data-dir DATA --cells 'half the run'
    python research/grid.py universal --out results/grid --table

makes what is missing of the cells that are named (all by default, the cheapest first), and prints a
table of those that are there: mean accuracy over the named corruptions outside the noise family in
percent, ± half of the 95% interval over seeds, and the mean rank over cells (equals share a rank).
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from scipy.stats import rankdata

from noiseproof.commands.evaluate import evaluate
from noiseproof.results import Record, accuracies, mean_interval, read_record

TRANSFERRED = " transferred"
"""Ends the name of a rival as it was tuned where theta was meta-trained."""

RIVALS = ("adam", "adamw", "muon", "decayed_muon")


class Cell(NamedTuple):
    """Attributes: settings over the preset's own; trials of a rival, each of two runs where there
    are few of them, else of as many as usual; inner seeds."""

    settings: tuple[str, ...]
    num_trials: int = 32
    num_seeds: int = 5


RUN, CHANNELS = "inner.num_steps", "model.channels"
RESNET = ("model.kind=resnet", "model.norm=batch", "inner.batch_size=128", f"{RUN}=1800")
CIFAR = ("data.name=cifar-10", "data.image_size=32")
CELLS = {
    "half the run": Cell((f"{RUN}=500",), num_seeds=10),
    "a quarter as wide": Cell((f"{CHANNELS}=[2,4,8]",), num_seeds=10),
    "perceptron on MNIST at 28": Cell(
        ("model.kind=mlp", "model.hidden_sizes=[64,64]", "data.name=mnist", "data.image_size=28"),
        num_seeds=10,
    ),
    "500 images": Cell(("data.num_images=500",), num_seeds=10),
    "batch norm": Cell(("model.norm=batch",), num_seeds=10),
    "perceptron of 512": Cell(("model.kind=mlp", "model.hidden_sizes=[512]", f"{RUN}=600")),
    "group norm": Cell(("model.norm=group",)),
    "four times the batch": Cell(("inner.batch_size=256",), num_trials=16),
    "three times as deep": Cell((f"{CHANNELS}=[8,8,8,16,16,16,32,32,32]",), num_trials=16),
    "five times the run": Cell((f"{RUN}=5000",), num_trials=16),
    "ten times the run": Cell((f"{CHANNELS}=[4,8,16]", f"{RUN}=10000"), num_trials=16),
    "four times as wide": Cell((f"{CHANNELS}=[32,64,128]",), num_trials=16),
    "Fashion-MNIST at 28": Cell(("data.image_size=28",), num_trials=16),
    "vit": Cell(("model.kind=vit", "model.width=32", "model.depth=2"), num_trials=16),
    "CIFAR-10 at 32": Cell((*CIFAR, f"{RUN}=2000"), num_trials=16),
    "sixteen times as wide": Cell((f"{CHANNELS}=[128,256,512]",), 16, 3),
    "resnet of 8 on CIFAR-10 at 32": Cell((*RESNET, *CIFAR, "model.depth=8"), 16, 3),
    "resnet of 20 on CIFAR-10 at 32": Cell((*RESNET, *CIFAR, "model.depth=20"), 16, 3),
}
"""By name, the cheapest first. The preset's own problem is a convnet of 8, 16 and 32 channels on
Fashion-MNIST at 14×14, 1,000 steps of 64 images."""


def folder_of(out: Path, name: str) -> Path:
    return out / name.replace(" ", "-").lower()


def settings_of(cell: Cell) -> list[str]:
    """All that is laid over the settings of meta-training."""
    return [
        *cell.settings,
        f"tuning.rivals={list(RIVALS)}".replace("'", '"'),
        f"tuning.num_trials={cell.num_trials}",
        *(["tuning.num_runs=2"] if cell.num_trials < 32 else []),
        "tuning.num_finalists=4",
        "tuning.num_final_runs=4",
        f"evaluation.num_seeds={cell.num_seeds}",
    ]


def clean_and_corrupted(record: Record) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By optimizer, accuracy on clean images and the mean over the counted corruptions, of every
    seed, in percent."""
    found = accuracies(record)
    clean = next(values for condition, values in found.items() if condition.role == "clean")
    counted = [
        values
        for condition, values in found.items()
        if condition.severity is None
        and condition.strength is None
        and condition.family != "noise"
        and condition.role in ("held_out", "kin")
    ]
    means = np.mean(counted, axis=0)
    names = [optimizer.name for optimizer in record.run.optimizers]
    return {
        name: (100 * on_clean, 100 * mean)
        for name, on_clean, mean in zip(names, clean, means, strict=True)
    }


def table(out: Path) -> str:
    """The cells that are there, in three tables: beside rivals tuned on the cell, beside those that
    are transferred, and on clean images. Ranks are among all of both."""
    cells = {
        name: clean_and_corrupted(read_record(folder_of(out, name)))
        for name in CELLS
        if (folder_of(out, name) / "run.json").exists()
    }
    if not cells:
        return "no cell is there yet"
    names = list(next(iter(cells.values())))
    means = np.array([[pair[1].mean() for pair in found.values()] for found in cells.values()])
    ranks = rankdata(-means, axis=1).mean(axis=0)
    ahead = (means[:, :1] > means).sum(axis=0)
    first, moved = names[0], [name for name in names if name.endswith(TRANSFERRED)]
    tuned = [name for name in names if name not in moved]

    def lines(chosen: list[str], words: Callable[[np.ndarray, np.ndarray], str]) -> list[str]:
        heads = [name.removesuffix(TRANSFERRED) for name in chosen]
        rows = [[name, *(words(*found[one]) for one in chosen)] for name, found in cells.items()]
        return in_markdown([["cell", *heads], *rows])

    def counts(chosen: list[str]) -> list[str]:
        places = [names.index(name) for name in chosen]
        won = ["" if name == first else str(ahead[names.index(name)]) for name in chosen]
        return [
            in_row(["mean rank", *(f"{ranks[place]:.2f}" for place in places)]),
            in_row([f"cells of {len(cells)} where the first is ahead", *won]),
        ]

    def corrupted(_clean: np.ndarray, values: np.ndarray) -> str:
        mean = mean_interval(values)
        return f"{mean.mean:.1f} ± {mean.high - mean.mean:.1f}"

    return "\n".join(
        [
            *("Rivals tuned on the cell:", "", *lines(tuned, corrupted), *counts(tuned), ""),
            *("Rivals transferred:", "", *lines([first, *moved], corrupted)),
            *(*counts([first, *moved]), ""),
            *("Clean images:", "", *lines(tuned, lambda clean, _values: f"{clean.mean():.1f}")),
        ]
    )


def in_markdown(rows: list[list[str]]) -> list[str]:
    """A table whose first row is its head."""
    head, *rest = map(in_row, rows)
    return [head, in_row(["---"] * len(rows[0])), *rest]


def in_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Judges a learned optimizer on the grid.")
    parser.add_argument("optimizer", help="a shipped name, a folder of a run or a file")
    parser.add_argument("--out", type=Path, required=True, help="a folder for every cell")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=list(CELLS), metavar="CELL")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="for all cells")
    parser.add_argument("--transferred", type=Path, help="a run where theta was meta-trained")
    parser.add_argument("--searches", type=Path, help="an earlier grid, whose searches are taken")
    parser.add_argument("--table", action="store_true", help="of what is there, and no more")
    options = parser.parse_args()
    for name in [] if options.table else options.cells:
        folder = folder_of(options.out, name)
        if not (folder / "run.json").exists():
            evaluate(
                options.optimizer,
                [*settings_of(CELLS[name]), *options.set],
                folder,
                Console(),
                seed=0,
                data_dir=options.data_dir,
                transferred=options.transferred,
                tuned=options.searches and folder_of(options.searches, name),
                resume=folder.exists(),
            )
    print(table(options.out))


if __name__ == "__main__":
    main()

"""Draws what meta-training on each family of corruptions alone gave, from the committed cells.

    python docs/draw_families.py           # the figures of docs/study.md
    python docs/draw_families.py --table   # the same as text

A cell of `research/families_matrix.py` is a family and a meta-seed. Both figures are relative to
the cell on clean images of the same meta-seed: the matrix of transfer (accuracy under a family
less the control's, in points), and how each rate moved (the geometric mean over the run relative
to the control's; of a share, the difference). Numbers are means over meta-seeds with half of
their 95% interval; those whose interval does not hold zero are bold.
"""

import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from jaxtyping import Float
from matplotlib.figure import Figure

from noiseproof.corruptions.families import FAMILIES
from noiseproof.kinds import KINDS, MATRICES
from noiseproof.report.drawing import rendered
from noiseproof.results import mean_interval

ROOT = Path(__file__).parents[1]
CELLS = ROOT / "results" / "families-matrix"
IMAGES = ROOT / "docs" / "images"
CONTROL = "clean"
LEFT, CELL, HEIGHT, TOP = 0.85, 0.74, 0.36, 0.62

RATES = {
    "step\nfirst": ("step", KINDS.index("first")),
    "step\nreadout": ("step", KINDS.index("readout")),
    "step\nbiases": ("step", KINDS.index("bias")),
    "share\nfirst": ("orthogonal", MATRICES.index("first")),
    "share\nreadout": ("orthogonal", MATRICES.index("readout")),
    "decay\nfirst": ("decay", KINDS.index("first")),
    "decay\nreadout": ("decay", KINDS.index("readout")),
    "fine\nband": ("bands", 0),
    "middle\nband": ("bands", 1),
    "coarse\nband": ("bands", 2),
    "mean": ("mean", 0),
}
"""Of the tensors that a perceptron has, by group and row of the cells' rates."""


class Sheet(NamedTuple):
    """A table of numbers with intervals.

    Attributes:
        columns: Their names.
        means: Over meta-seeds, a row for each family.
        halves: Half of each 95% interval.
        num_seeds: Of each row.
    """

    columns: Sequence[str]
    means: Float[np.ndarray, "families columns"]
    halves: Float[np.ndarray, "families columns"]
    num_seeds: int


def cells() -> dict[tuple[str, int], dict[str, Any]]:
    """All cells, by family and meta-seed."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(CELLS.glob("*.json"))]
    return {(cell["family"], cell["seed"]): cell for cell in found}


def sheet(columns: Sequence[str], values: Any) -> Sheet:
    """A table of `values(cell, control)`, a number a column, over all meta-seeds."""
    everyone = cells()
    seeds = sorted(seed for family, seed in everyone if family == CONTROL)
    rows = [
        np.array([values(everyone[family, seed], everyone[CONTROL, seed]) for seed in seeds])
        for family in FAMILIES
    ]
    found = [[mean_interval(column) for column in row.T] for row in rows]
    means, halves = (
        np.array([[read(one) for one in row] for row in found])
        for read in (lambda one: one.mean, lambda one: one.high - one.mean)
    )
    return Sheet(columns, means, halves, len(seeds))


def transfer() -> Sheet:
    """Accuracy under each family less that of the control, in points."""
    names = (*FAMILIES, CONTROL)

    def gains(cell: dict[str, Any], control: dict[str, Any]) -> list[float]:
        own, other = cell["accuracy"], control["accuracy"]
        return [100 * (np.mean(own[name]) - np.mean(other[name])) for name in names]

    return sheet(names, gains)


def moved() -> Sheet:
    """Logarithms to base 2 of rates relative to the control's; of a share, the difference."""

    def values(cell: dict[str, Any], control: dict[str, Any]) -> list[float]:
        found = []
        for group, row in RATES.values():
            own, other = (np.array(one["rates"][group][row]) for one in (cell, control))
            change = own - other if group == "orthogonal" else np.log2(own / other)
            found.append(float(change.mean()))
        return found

    return sheet(tuple(RATES), values)


def words(name: str, mean: float) -> str:
    """A number as the figures and tables show it."""
    if name in RATES and RATES[name][0] != "orthogonal":
        return f"×{2**mean:.2f}"
    return f"{mean:+.2f}" if name in RATES else f"{mean:+.1f}"


def heat_map(name: str, title: str, found: Sheet, limits: Sequence[float]) -> str:
    """A table as a picture whose colors are numbers over the limit of each column."""

    def paint(figure: Figure) -> None:
        num_rows, num_columns = found.means.shape
        width, height = LEFT + num_columns * CELL, TOP + num_rows * HEIGHT + 0.05
        figure.set_size_inches(width, height)
        axes = figure.add_axes(
            (LEFT / width, 0.05 / height, 1 - LEFT / width, num_rows * HEIGHT / height)
        )
        axes.imshow(found.means / np.array(limits), cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
        axes.grid(False)
        for (row, column), mean in np.ndenumerate(found.means):
            half = found.halves[row, column]
            label = words(list(found.columns)[int(column)], float(mean))
            if name == "transfer":
                label += f"\n± {half:.1f}"
            color = "white" if abs(mean) > 0.6 * limits[column] else "black"
            weight = "bold" if abs(mean) > half else "normal"
            where = {"ha": "center", "va": "center", "fontsize": 7.5}
            axes.text(column, row, label, color=color, weight=weight, **where)
        axes.set_xticks(range(num_columns), found.columns, fontsize=8)
        axes.set_yticks(range(num_rows), list(FAMILIES), fontsize=8)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        for side in axes.spines.values():
            side.set_visible(False)
        figure.text(0.01, 1 - 0.13 / height, title, fontsize=8.5, va="center")

    return rendered(name, paint)


def pictures() -> dict[str, str]:
    """Both figures, by name."""
    gains, rates = transfer(), moved()
    most = float(np.abs(gains.means).max())
    spread = [0.4 if RATES[name][0] == "orthogonal" else 2.0 for name in rates.columns]
    return {
        "transfer": heat_map(
            "transfer",
            "meta-trained on (rows), tested on (columns): points over the control",
            gains,
            [most] * len(gains.columns),
        ),
        "moved": heat_map(
            "moved",
            "meta-trained on (rows): rates (columns) relative to the control's",
            rates,
            spread,
        ),
    }


def table(found: Sheet) -> str:
    """A table as text."""
    head = ["on", *(name.replace("\n", " ") for name in found.columns)]
    lines = [head, ["---"] * len(head)]
    for family, means, halves in zip(FAMILIES, found.means, found.halves, strict=True):
        cell = [
            f"{words(name, float(mean))}{'' if abs(mean) > half else ' (0)'}"
            for name, mean, half in zip(found.columns, means, halves, strict=True)
        ]
        lines.append([family, *cell])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\nn = {found.num_seeds} meta-seeds; (0): the 95% interval holds zero"


def main(as_text: Annotated[bool, typer.Option("--table")] = False) -> None:
    """Draws the pictures, or prints them as tables."""
    if as_text:
        print(table(transfer()), table(moved()), sep="\n\n")
        return
    as_file = runpy.run_path(str(ROOT / "docs" / "draw_study.py"))["as_file"]
    for name, picture in pictures().items():
        (IMAGES / f"families-{name}.svg").write_text(as_file(picture), "utf-8")


if __name__ == "__main__":
    typer.run(main)

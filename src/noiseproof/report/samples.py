"""Sample images under corruptions, and what the classifiers of each optimizer took them for."""

from functools import partial

import numpy as np
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes

from noiseproof.report.drawing import INK, LETTER, WIDTH, cut, draw
from noiseproof.report.tables import condition_label, optimizers_in_order
from noiseproof.results import Record

ROW = 0.3
"""Inches from one condition to the next, and of an image's side."""

MOST = 14
"""Optimizers that are shown; of more the last kinds are left out."""


def sample_figures(record: Record) -> dict[str, str]:
    """A figure for each sampled image, SVG by title; none where the record holds no samples."""
    kept, run = record.samples, record.run
    if kept is None:
        return {}
    shown, names = list(optimizers_in_order(run))[:MOST], [one.name for one in run.optimizers]
    said = kept.sample_class[[names.index(name) for name in shown]]
    conditions = [cut(condition_label(run.conditions[at])) for at in kept.sample_condition]
    columns, num = [cut(name) for name in shown], len(conditions)
    height = ROW * num + _header(columns)
    left, figures = 0.1 + LETTER * max(map(len, conditions)), {}
    width = WIDTH - left - 0.1
    for at, label in enumerate(kept.sample_label.tolist()):
        right = int((said[0, :, at] == label).sum())
        title = f"A test image of class {label}: {columns[0]} is right under {right} of {num}"
        drawing = partial(
            _grid, label, kept.sample_image[:, at], said[:, :, at].T, conditions, columns, width
        )
        figures[title] = draw(f"samples-{at}", drawing, height=height, left=left, right=0.1)
    return figures


def _header(names: list[str]) -> float:
    """Inches that upright names take."""
    return LETTER * max(map(len, names)) + 0.1


def _grid(
    label: int,
    images: UInt8[np.ndarray, "shown height width channels"],
    said: Int[np.ndarray, "shown optimizers"],
    conditions: list[str],
    names: list[str],
    width: float,
    axes: Axes,
) -> None:
    """A row for each condition: its name, the image, and an answer of each optimizer."""
    x = 1.2 * ROW + (width - 1.2 * ROW) * (np.arange(len(names)) + 0.5) / len(names)
    for row, words in enumerate(conditions):
        axes.text(-0.05, row, words, ha="right", va="center")
    for column, name in enumerate(names):
        axes.text(x[column], -0.7, name, rotation=90, ha="center", va="bottom")
    # Right and wrong differ in shape, so that they are told apart without colors.
    rows, columns = np.nonzero(said == label)
    axes.plot(x[columns], rows, ".", color=INK, markersize=4)
    rows, columns = np.nonzero(said != label)
    axes.plot(x[columns], rows, "s", markersize=13, markerfacecolor="none", color=INK)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        answer = said[row, column]
        words = "–" if answer < 0 else str(answer)
        axes.text(x[column], row, words, ha="center", va="center", fontweight="bold")
    colors = images if images.shape[3] == 3 else images.repeat(3, axis=3)
    seen = np.concatenate([colors, np.full_like(colors[..., :1], 255)], axis=3)
    # One picture of all, with clear lines between them.
    picture = np.pad(seen, ((0, 0), (1, 1), (0, 0), (0, 0))).reshape(-1, *seen.shape[2:])
    extent = (0, ROW * images.shape[2] / images.shape[1], len(images) - 0.5, -0.5)
    axes.imshow(picture, extent=extent, aspect="auto", interpolation="none")
    axes.set(xlim=(0, width), ylim=(len(images) - 0.5, -0.5 - _header(names) / ROW))
    axes.set_axis_off()

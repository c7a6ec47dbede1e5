"""Figures of a report, as SVG to be set into a page.

Text stays text and takes the page's color, lines are told apart by color (Okabe and Ito's palette
for all kinds of color vision), marker and dash. The same records give the same bytes.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from noiseproof.report.tables import condition_label, optimizers_in_order, readable, verdict
from noiseproof.results import (
    Accuracies,
    Comparison,
    Condition,
    Interval,
    MetricsLine,
    Record,
    accuracies,
    mean_interval,
    places,
)

WIDTH = 4.8
"""Inches, 346 points: about the width of a phone, so that there letters keep their size."""

INK = "#123456"
"""Stands for the page's text color while a figure is drawn."""

LEARNED_COLOR = "#d55e00"
INITIAL_COLOR = "#7f7f7f"
RIVAL_COLORS = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#b3a000")
MARKERS = "s^DvP<>"
DASHES = ((0, (5, 1.5)), (0, (4, 1, 1, 1)), (0, (2.5, 1)), (0, (6, 2, 1, 2, 1, 2)))


class Style(NamedTuple):
    """How an optimizer is drawn.

    Attributes:
        color: Hexadecimal.
        marker: Matplotlib's letter.
        dash: Matplotlib's dash pattern.
        width: Of the line, in points.
    """

    color: str
    marker: str
    dash: Any
    width: float


SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold a dollar sign
    "svg.hashsalt": "noiseproof",  # else ids of markers are drawn anew in each process
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
}


def styles(kinds: Mapping[str, str]) -> dict[str, Style]:
    """One style per optimizer, from its kind.

    Learned ones are thick, solid and in a color of their own; thetas before meta-training faint.
    """
    fixed = {
        "learned": Style(LEARNED_COLOR, "o", "solid", 2.6),
        "initial": Style(INITIAL_COLOR, "x", (0, (1, 1)), 1.4),
    }
    others = [name for name, kind in kinds.items() if kind not in fixed]
    return {
        name: fixed[kind] if kind in fixed else _rival_style(others.index(name))
        for name, kind in kinds.items()
    }


def _rival_style(place: int) -> Style:
    color = RIVAL_COLORS[place % len(RIVAL_COLORS)]
    # Counts of colors, markers and dashes differ, so that a repeated color looks different.
    return Style(color, MARKERS[place % len(MARKERS)], DASHES[place % len(DASHES)], 1.4)


def accuracy_figures(record: Record) -> dict[str, str]:
    """Accuracy against strength, one figure for each corruption; SVG by title.

    Only corruptions tested at two strengths or more make a figure.
    """
    look, table = styles(optimizers_in_order(record.run)), accuracies(record)
    return {
        f"{readable(corruption)} on {record.run.dataset} with {record.run.model}": _draw(
            f"accuracy-{number}", _accuracy_drawing(table, group, look, places(record))
        )
        for number, (corruption, group) in enumerate(_by_strength(table))
    }


def difference_figure(name: str, comparisons: Sequence[Comparison]) -> str:
    """Differences of one rival by condition, with their intervals.

    Args:
        name: Of the figure, unlike that of any other on the page.
        comparisons: Those of one learned optimizer with one rival.
    """

    families = list(dict.fromkeys(one.condition.family for one in comparisons))
    shown = sorted(comparisons, key=lambda one: families.index(one.condition.family))
    labels = [_cut(condition_label(comparison.condition)) for comparison in shown]

    def drawing(axes: Axes) -> None:
        _differences(axes, shown)
        if len(families) > 2:
            _shade_families(axes, [comparison.condition.family for comparison in shown])
        # Plain texts: so many ticks would take most of the time of a report.
        axes.set_yticks([])
        across = axes.get_yaxis_transform()
        for row, label in enumerate(labels):
            axes.text(-0.02, row, label, transform=across, ha="right", va="center")
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("difference of accuracy in points, learned minus rival")

    left = 0.2 + LETTER * max(map(len, labels))
    right = 0.2 + LETTER * max(len(_cut(family)) for family in families)
    return _draw(name, drawing, height=0.22 * len(shown), left=left, right=right)


LOSS_RANGE = (1e-9, 1e9)
"""Losses in nats beyond this are drawn at its ends: an axis takes no more."""


def curves_figure(record: Record) -> str:
    """Training loss of the classifiers against inner steps, mean and band over seeds."""
    look, place = styles(optimizers_in_order(record.run)), places(record)
    # What is not finite leaves a gap.
    curve, low, high = (
        np.clip(np.where(np.isfinite(values), values, np.nan), *LOSS_RANGE)
        for values in (record.curves.curve, record.curves.low, record.curves.high)
    )
    steps = record.curves.step

    def drawing(axes: Axes) -> None:
        for name in look:
            mine = place[name]
            _line(axes, steps, curve[mine], look[name], name, marked=False)
            color = look[name].color
            axes.fill_between(steps, low[mine], high[mine], color=color, alpha=0.15, linewidth=0)
        if np.isfinite(curve).any():
            axes.set_yscale("log")
            # A band may reach below zero; the lines decide what is shown.
            axes.set_ylim(np.nanmin(curve) / 1.5, np.nanmax(curve) * 1.5)
        axes.set_xlabel("inner step")
        axes.set_ylabel("training loss in nats")
        _legend(axes)

    return _draw("curves", drawing)


def metrics_figure(lines: Sequence[MetricsLine]) -> str:
    """The outer loss over meta-training, and theta's on the `select` split."""

    def drawing(axes: Axes) -> None:
        steps = [line.outer_step for line in lines]
        losses = [_drawn(line.meta_loss) for line in lines]
        axes.plot(steps, losses, color=RIVAL_COLORS[0], linewidth=1, label="outer loss")
        chosen = [line for line in lines if line.select_loss is not None]
        if chosen:
            look = Style(LEARNED_COLOR, "o", "solid", 1.8)
            steps = [line.outer_step for line in chosen]
            losses = [_drawn(line.select_loss) for line in chosen]
            _line(axes, steps, losses, look, "on the select split", marked=True)
        axes.set_xlabel("outer step")
        axes.set_ylabel("outer loss in nats")
        _legend(axes)

    return _draw("metrics", drawing, height=1.9)


def _drawn(loss: float | None) -> float:
    """A loss within what an axis takes; NaN, a gap, where there is none."""
    return float("nan") if loss is None else min(max(loss, -LOSS_RANGE[1]), LOSS_RANGE[1])


def _by_strength(conditions: Iterable[Condition]) -> list[tuple[str, list[Condition]]]:
    """Conditions of each corruption with several strengths, clean images first."""
    groups: dict[str, list[Condition]] = {}
    clean: list[Condition] = []
    for condition in conditions:
        if condition.role == "clean":
            clean.append(condition)
        elif condition.strength is not None:
            groups.setdefault(condition.corruption, []).append(condition)
    return [
        (corruption, clean + sorted(group, key=lambda condition: condition.strength or 0.0))
        for corruption, group in groups.items()
        if len(group) > 1
    ]


def _accuracy_drawing(
    table: Accuracies,
    conditions: Sequence[Condition],
    look: Mapping[str, Style],
    place: Mapping[str, int],
) -> Callable[[Axes], None]:
    def drawing(axes: Axes) -> None:
        for condition in conditions:
            if condition.role == "meta_train":
                axes.axvline(condition.strength or 0.0, color=INK, linewidth=0.8, alpha=0.5)
                axes.annotate(
                    "meta-trained here",
                    (condition.strength or 0.0, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(4, -2),
                    textcoords="offset points",
                    va="top",
                    fontsize=8,
                )
        strengths = [condition.strength or 0.0 for condition in conditions]
        for name in look:
            cells = [mean_interval(100 * table[one][place[name]]) for one in conditions]
            _accuracy_line(axes, strengths, cells, look[name], name)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, 0), min(top, 101))
        axes.set_xlabel(f"strength of {readable(conditions[-1].corruption)}, 0 = clean")
        axes.set_ylabel("test accuracy in %")
        _legend(axes)

    return drawing


def _accuracy_line(
    axes: Axes, strengths: Sequence[float], cells: Sequence[Interval], look: Style, name: str
) -> None:
    _line(axes, strengths, [cell.mean for cell in cells], look, name, marked=True)
    lows, highs = [cell.low for cell in cells], [cell.high for cell in cells]
    axes.fill_between(strengths, lows, highs, color=look.color, alpha=0.15, linewidth=0)


def _differences(axes: Axes, comparisons: Sequence[Comparison]) -> None:
    """A dot each with its interval: filled where the adjusted p value is below 0.05."""
    looks: dict[tuple[bool, bool], list[tuple[int, Comparison]]] = {}
    for row, comparison in enumerate(comparisons):
        look = comparison.difference > 0, verdict(comparison) == "open"
        looks.setdefault(look, []).append((row, comparison))
    for (better, is_open), dots in looks.items():
        color = LEARNED_COLOR if better else RIVAL_COLORS[0]
        ends = [(row, *one.ci95) for row, one in dots if one.ci95 is not None]
        axes.hlines(
            [row for row, _, _ in ends],
            [100 * low for _, low, _ in ends],
            [100 * high for _, _, high in ends],
            color=color,
            linewidth=1.6,
        )
        axes.plot(
            [100 * comparison.difference for _, comparison in dots],
            [row for row, _ in dots],
            linestyle="",
            marker="o" if better else "s",
            color=color,
            markerfacecolor="none" if is_open else color,
            markersize=6,
        )


def _shade_families(axes: Axes, families: Sequence[str]) -> None:
    """Every other family on a shade, each with its name to the right."""
    for place, family in enumerate(dict.fromkeys(families)):
        first = families.index(family)
        last = first + families.count(family) - 1
        if place % 2:
            axes.axhspan(first - 0.5, last + 0.5, color=INK, alpha=0.05, linewidth=0)
        if family != "none":
            across = axes.get_yaxis_transform()
            middle = (first + last) / 2
            axes.text(
                1.01, middle, _cut(family), transform=across, va="center", fontsize=8, alpha=0.8
            )


def _line(axes: Axes, x: ArrayLike, y: ArrayLike, look: Style, name: str, *, marked: bool) -> None:
    axes.plot(
        x,
        y,
        color=look.color,
        linestyle=look.dash,
        linewidth=look.width,
        marker=look.marker if marked else "",
        markersize=5,
        label=_label(name),
        zorder=2 + look.width,  # the learned one, thick, lies on top
    )


LETTER, LINE = 0.075, 0.18
"""Inches that a letter of a label and a line of the legend take."""

MOST_LETTERS = 40
"""A longer name is cut in figures; in tables it is whole."""

LONGEST_OF_THREE = 18
"""Letters of a name, of which three stand beside each other in a legend."""


def _label(name: str) -> str:
    """A name in a legend, which leaves out what begins with an underscore."""
    return _cut(f" {name}" if name.startswith("_") else name)


def _cut(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"


def _legend(axes: Axes) -> None:
    names = [str(name) for name in axes.get_legend_handles_labels()[1]]
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=_columns(names),
        fontsize=8.5,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _columns(names: Sequence[str]) -> int:
    """How many names of a legend stand beside each other."""
    longest = max(map(len, names), default=0)
    if longest > 2 * LONGEST_OF_THREE:
        return 1
    return 3 if longest <= LONGEST_OF_THREE else 2


def _draw(
    name: str,
    drawing: Callable[[Axes], None],
    *,
    height: float = 2.4,
    left: float = 0.65,
    right: float = 0.1,
) -> str:
    """Draw on fresh axes and return SVG whose ids are unique to `name`.

    Margins are computed, since the drawing library's own search for them takes most of the time.

    Args:
        name: Of the figure.
        drawing: Draws on the axes.
        height: Of the axes, in inches; the legend comes on top.
        left: Left margin, in inches.
        right: Right margin, in inches.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        figure = Figure()
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        drawing(axes)
        names = [str(label) for label in axes.get_legend_handles_labels()[1]]
        top = 0.15 + LINE * math.ceil(len(names) / _columns(names))
        bottom = 0.5
        total = bottom + height + top
        figure.set_size_inches(WIDTH, total)
        axes.set_position(
            (left / WIDTH, bottom / total, (WIDTH - left - right) / WIDTH, height / total)
        )
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with warnings.catch_warnings():
            # A name may hold letters that only the reader's own font has.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(text, format="svg", metadata=nothing, transparent=True)
    return _inline(text.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """What an SVG file says that a page does not need or may not hold, taken out."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    # The page gives the width, the view box the shape.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", svg)
    return svg.replace(INK, "currentColor")

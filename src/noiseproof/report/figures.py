"""Figures of a report, as SVG to be set into a page.

Text stays text and takes the page's color, lines are told apart by color (Okabe and Ito's palette
for all kinds of color vision), marker and dash. The same records give the same bytes.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from noiseproof.report.tables import (
    condition_label,
    intervals,
    optimizers_in_order,
    readable,
    verdict,
)
from noiseproof.results import (
    Comparison,
    Condition,
    CurvePoint,
    Interval,
    MetricsLine,
    ResultRow,
    accuracies,
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


def accuracy_figures(rows: Sequence[ResultRow]) -> dict[str, str]:
    """Accuracy against strength, one figure per data set, model and corruption; SVG by title.

    Only corruptions tested at two strengths or more make a figure.
    """
    look = styles(optimizers_in_order(rows))
    found = intervals(accuracies(rows))
    return {
        f"{readable(corruption)} on {dataset} with {model}": _draw(
            f"accuracy-{place}", _accuracy_drawing(found, group, look)
        )
        for place, ((dataset, model, corruption), group) in enumerate(_by_strength(found))
    }


def difference_figure(name: str, comparisons: Sequence[Comparison]) -> str:
    """Differences of one rival by condition, with their intervals.

    Args:
        name: Of the figure, unlike that of any other on the page.
        comparisons: Those of one learned optimizer with one rival.
    """

    def drawing(axes: Axes) -> None:
        families = list(dict.fromkeys(made.family for made in comparisons))
        shown = sorted(comparisons, key=lambda made: families.index(made.family))
        for place, made in enumerate(shown):
            _difference(axes, place, made)
        if len(families) > 2:
            _shade_families(axes, [made.family for made in shown])
        axes.set_yticks(range(len(shown)), [condition_label(made) for made in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("difference of accuracy in points, learned minus rival")

    return _draw(name, drawing, height=0.9 + 0.22 * len(comparisons))


def curves_figure(points: Sequence[CurvePoint], kinds: Mapping[str, str]) -> str:
    """Training loss of the classifiers against inner steps, mean and band over seeds.

    Args:
        points: Of all optimizers.
        kinds: What each optimizer is, in the order of the other figures, so that each keeps its
            color; one that is not named is drawn as a rival.
    """
    names = {point.optimizer: "hand" for point in points}
    look = styles({**kinds, **{name: kinds.get(name, kind) for name, kind in names.items()}})

    def drawing(axes: Axes) -> None:
        for name in (name for name in look if name in names):
            mine = [point for point in points if point.optimizer == name]
            steps = [point.step for point in mine]
            _line(axes, steps, [point.loss for point in mine], look[name], name, marked=False)
            lows, highs = [point.low for point in mine], [point.high for point in mine]
            axes.fill_between(steps, lows, highs, color=look[name].color, alpha=0.15, linewidth=0)
        positive = [point.loss for point in points if point.loss > 0]
        if positive:
            axes.set_yscale("log")
            # A band may reach below zero; the lines decide what is shown.
            axes.set_ylim(min(positive) / 1.5, max(positive) * 1.5)
        axes.set_xlabel("inner step")
        axes.set_ylabel("training loss in nats")
        _legend(axes)

    return _draw("curves", drawing)


def metrics_figure(lines: Sequence[MetricsLine]) -> str:
    """The outer loss over meta-training, and theta's on the `select` split."""

    def drawing(axes: Axes) -> None:
        steps = [line.outer_step for line in lines]
        losses = [line.meta_loss for line in lines]
        axes.plot(steps, losses, color=RIVAL_COLORS[0], linewidth=1, label="outer loss")
        chosen = [(line.outer_step, line.select_loss) for line in lines if line.select_loss]
        if chosen:
            look = Style(LEARNED_COLOR, "o", "solid", 1.8)
            steps, losses = (list(values) for values in zip(*chosen, strict=True))
            _line(axes, steps, losses, look, "on the select split", marked=True)
        axes.set_xlabel("outer step")
        axes.set_ylabel("outer loss in nats")
        _legend(axes)

    return _draw("metrics", drawing, height=2.8)


def _by_strength(
    found: Mapping[Condition, object],
) -> Iterable[tuple[tuple[str, str, str], list[Condition]]]:
    """Conditions of each corruption with several strengths, clean images first."""
    groups: dict[tuple[str, str, str], list[Condition]] = {}
    clean: dict[tuple[str, str], list[Condition]] = {}
    for condition in found:
        setting = (condition.dataset, condition.model)
        if condition.role == "clean":
            clean.setdefault(setting, []).append(condition)
        elif condition.strength is not None:
            groups.setdefault((*setting, condition.corruption), []).append(condition)
    for key, group in groups.items():
        if len(group) > 1:
            ordered = sorted(group, key=lambda condition: condition.strength or 0.0)
            yield key, clean.get(key[:2], []) + ordered


def _accuracy_drawing(
    found: Mapping[Condition, Mapping[str, Interval]],
    conditions: Sequence[Condition],
    look: Mapping[str, Style],
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
        for name in look:
            shown = [condition for condition in conditions if name in found[condition]]
            cells = [found[condition][name] for condition in shown]
            strengths = [condition.strength or 0.0 for condition in shown]
            means = [100 * cell.mean for cell in cells]
            _line(axes, strengths, means, look[name], name, marked=True)
            lows, highs = [100 * cell.low for cell in cells], [100 * cell.high for cell in cells]
            color = look[name].color
            axes.fill_between(strengths, lows, highs, color=color, alpha=0.15, linewidth=0)
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, 0), min(top, 101))
        axes.set_xlabel(f"strength of {readable(conditions[-1].corruption)}, 0 = clean")
        axes.set_ylabel("test accuracy in %")
        _legend(axes)

    return drawing


def _difference(axes: Axes, place: int, made: Comparison) -> None:
    """One dot with its interval: filled where the adjusted p value is below 0.05."""
    color = LEARNED_COLOR if made.difference > 0 else RIVAL_COLORS[0]
    low, high = (100 * end for end in made.ci95)
    axes.plot([low, high], [place, place], color=color, linewidth=1.6)
    axes.plot(
        [100 * made.difference],
        [place],
        marker="o" if made.difference > 0 else "s",
        color=color,
        markerfacecolor="none" if verdict(made) == "open" else color,
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
            axes.text(1.01, middle, family, transform=across, va="center", fontsize=8, alpha=0.8)


def _line(
    axes: Axes, x: Sequence[float], y: Sequence[float], look: Style, name: str, *, marked: bool
) -> None:
    axes.plot(
        x,
        y,
        color=look.color,
        linestyle=look.dash,
        linewidth=look.width,
        marker=look.marker if marked else "",
        markersize=5,
        label=name,
        zorder=2 + look.width,  # the learned one, thick, lies on top
    )


LONGEST_OF_THREE = 18
"""Letters of a name, of which three stand beside each other in a legend."""


def _legend(axes: Axes) -> None:
    longest = max(map(len, axes.get_legend_handles_labels()[1]), default=0)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        # Three long names do not fit beside each other.
        ncols=3 if longest <= LONGEST_OF_THREE else 2,
        fontsize=8.5,
        columnspacing=1.2,
    )


def _draw(name: str, drawing: Callable[[Axes], None], *, height: float = 3.4) -> str:
    """Draw on fresh axes and return SVG whose ids are unique to `name`."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        drawing(figure.add_subplot())
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
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

"""Figures of a report, as SVG: one function each."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from noiseproof.report.drawing import (
    INK,
    LEARNED_COLOR,
    LETTER,
    RIVAL_COLORS,
    Style,
    cut,
    draw,
    legend,
    line,
    styles,
)
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
    trial_curve,
)


def accuracy_figures(record: Record) -> dict[str, str]:
    """Accuracy against strength, one figure for each corruption; SVG by title.

    Only corruptions tested at two strengths or more make a figure.
    """
    look, table = styles(optimizers_in_order(record.run)), accuracies(record)
    return {
        f"{readable(corruption)} on {record.run.dataset} with {record.run.model}": draw(
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
    labels = [cut(condition_label(comparison.condition)) for comparison in shown]

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
    right = 0.2 + LETTER * max(len(cut(family)) for family in families)
    return draw(name, drawing, height=0.22 * len(shown), left=left, right=right)


NUM_SEARCHES = 6
"""Rivals whose searches are drawn: those that end lowest."""


def trials_figure(record: Record) -> str | None:
    """The best outer loss that each search is expected to have found, against its trials, and that
    of the learned optimizer; None where the record does not say it.
    """
    learned = record.run.optimizers[0]
    place = places(record)
    found = {
        entry.name: trial_curve(record, place[entry.name])
        for entry in record.run.optimizers
        if entry.kind == "hand"
    }
    found = {name: curve for name, curve in found.items() if curve.size}
    level = learned.outer_loss
    if not found or level is None:
        return None
    shown = sorted(found, key=lambda name: found[name][-1])[:NUM_SEARCHES]
    # Colors among those that are drawn, so that no two share one.
    look = styles({learned.name: learned.kind, **dict.fromkeys(shown, "hand")})
    longest = max(found[name].size for name in shown)

    def drawing(axes: Axes) -> None:
        for name in shown:
            trials = np.arange(1, found[name].size + 1)
            line(axes, trials, found[name], look[name], name, marked=False)
        ends = [1, max(longest, 2)]
        line(axes, ends, [level, level], look[learned.name], learned.name, marked=False)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        lowest = min(level, *(found[name][-1] for name in shown))
        # The first trials are far above what is compared.
        middle = max(float(np.median(found[name])) for name in shown)
        axes.set_ylim(lowest - 0.1 * (middle - lowest), middle + 1.5 * (middle - lowest) + 1e-3)
        axes.set_xlabel("trials of a search")
        axes.set_ylabel("best outer loss in nats")
        legend(axes)

    return draw("trials", drawing)


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
            line(axes, steps, curve[mine], look[name], name, marked=False)
            color = look[name].color
            axes.fill_between(steps, low[mine], high[mine], color=color, alpha=0.15, linewidth=0)
        if np.isfinite(curve).any():
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_minor_locator(NullLocator())
            # The usual form, a power of ten, would be read as math, which names must not be.
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            # A band may reach below zero; the lines decide what is shown.
            axes.set_ylim(np.nanmin(curve) / 1.5, np.nanmax(curve) * 1.5)
        axes.set_xlabel("inner step")
        axes.set_ylabel("training loss in nats")
        legend(axes)

    return draw("curves", drawing)


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
            line(axes, steps, losses, look, "on the select split", marked=True)
        axes.set_xlabel("outer step")
        axes.set_ylabel("outer loss in nats")
        legend(axes)

    return draw("metrics", drawing, height=1.9)


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
        legend(axes)

    return drawing


def _accuracy_line(
    axes: Axes, strengths: Sequence[float], cells: Sequence[Interval], look: Style, name: str
) -> None:
    line(axes, strengths, [cell.mean for cell in cells], look, name, marked=True)
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
                1.01, middle, cut(family), transform=across, va="center", fontsize=8, alpha=0.8
            )

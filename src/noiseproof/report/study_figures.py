"""Figures of a study, as SVG: one function each, from its record alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from noiseproof.report.drawing import (
    DASHES,
    INK,
    LEARNED_COLOR,
    LETTER,
    MARKERS,
    RIVAL_COLORS,
    Grid,
    Style,
    draw,
    draw_grid,
    legend,
    line,
    styles,
)
from noiseproof.report.tables import readable
from noiseproof.results import StudyRecord, mean_interval

GROUPS = {
    "step": "step",
    "orthogonal": "share of the orthogonalized momentum",
    "decay": "decay, relative to the step",
    "bands": "decay of bands of filters",
    "mean": "decay of means of filters",
}
"""What the groups of rates are called above their axes."""

RATE_STYLES = [
    Style(LEARNED_COLOR, "o", "solid", 1.8),
    *(Style(*look, 1.5) for look in zip(RIVAL_COLORS, MARKERS, DASHES, strict=False)),
    Style("#000000", "*", "solid", 1.0),
]
"""Of the rows of a group."""


def looks(record: StudyRecord) -> dict[str, Style]:
    """The style of every optimizer."""
    return styles({entry.name: entry.kind for entry in record.about.optimizers})


def rates_figure(record: StudyRecord, group: str) -> str:
    """The rates of a group over the run, with the span of all thetas."""
    about, rates = record.about, record.arrays["rates"]
    rows = [at for at, name in enumerate(about.axes["rates"]) if str(name).startswith(f"{group}: ")]
    fractions = [float(fraction) for fraction in about.axes["fractions"]]

    def drawing(axes: Axes) -> None:
        for look, row in zip(RATE_STYLES, rows, strict=False):
            name = str(about.axes["rates"][row]).removeprefix(f"{group}: ")
            line(axes, fractions, rates[0, row], look, name, marked=False)
            axes.plot(fractions[::20], rates[0, row, ::20], look.marker, color=look.color, ms=5)
            if len(rates) > 1:
                low, high = rates[:, row].min(axis=0), rates[:, row].max(axis=0)
                axes.fill_between(fractions, low, high, color=look.color, alpha=0.13, linewidth=0)
        if group == "orthogonal":
            axes.set_ylim(0, 1)
        else:
            log_scale(axes)
        axes.set_xlabel("share of the run")
        axes.set_ylabel(GROUPS[group] if group != "orthogonal" else "share")
        legend(axes)

    return draw(f"rates-{group}", drawing, height=2.0)


def log_scale(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def matrices(record: StudyRecord) -> list[int]:
    """Places of the tensors that are neither biases nor of norms."""
    small = ("bias)", "norm)", "statistic)", "scalar)", "position)", "token)", "embedding)")
    names = record.about.axes["tensors"]
    return [at for at, name in enumerate(names) if not str(name).endswith(small)]


def lines_of_all(
    record: StudyRecord,
    axes: Axes,
    x: Sequence[float] | Float[np.ndarray, " points"],
    y: Float[np.ndarray, "optimizers seeds points"],
    *,
    marked: bool = False,
) -> None:
    """A line for every optimizer, the mean over seeds with its interval."""
    for (name, look), values in zip(looks(record).items(), y, strict=True):
        intervals = [mean_interval(np.nan_to_num(column)) for column in values.T]
        line(axes, x, [one.mean for one in intervals], look, name, marked=marked)
        ends = [one.low for one in intervals], [one.high for one in intervals]
        axes.fill_between(x, *ends, color=look.color, alpha=0.15, linewidth=0)


def norms_figure(record: StudyRecord, *, relative: bool) -> str:
    """Norm of the weights of each layer over the run; or a step's, relative to it."""
    weights, updates = record.arrays["weight_norm"], record.arrays["update_norm"]
    values = updates / np.maximum(weights, 1e-30) if relative else weights
    places, steps = matrices(record), record.about.axes["stretches"]

    def drawing(axes: Axes, place: int) -> None:
        lines_of_all(record, axes, np.array(steps, float), values[:, :, places[place]])
        if relative:
            log_scale(axes)
        axes.set_xlabel("inner step", fontsize=8.5)
        axes.xaxis.set_major_locator(MaxNLocator(3))

    titles = [str(record.about.axes["tensors"][at]) for at in places]
    return draw_grid("updates" if relative else "weights", titles, drawing)


def answers_figure(record: StudyRecord) -> str:
    """The step as a function of the gradient of a batch, at frozen states."""
    places, axes_of = matrices(record), record.about.axes
    moments = [float(moment) for moment in axes_of["moments"]]
    titles = [f"{axes_of['tensors'][at]}, {moment:.0%}" for at in places for moment in moments]

    def drawing(axes: Axes, place: int) -> None:
        tensor, moment = divmod(place, len(moments))
        values = record.arrays["answer"][:, :, moment, :, places[tensor]]
        lines_of_all(record, axes, np.array(axes_of["factors"], float), values)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.set_xlabel("times the gradient", fontsize=8.5)
        axes.yaxis.set_major_locator(MaxNLocator(3))

    return draw_grid("answers", short_titles(titles), drawing, Grid(3, 1.1, 0.55, 0.45))


def coasting_figure(record: StudyRecord) -> str:
    """The norm of each layer without a gradient, from the middle of the run on."""
    places, axes_of = matrices(record), record.about.axes
    middle = len(axes_of["moments"]) // 2

    def drawing(axes: Axes, place: int) -> None:
        values = record.arrays["coasting"][:, :, middle, :, places[place]]
        lines_of_all(record, axes, np.array(axes_of["coasting"], float), values)
        axes.set_xlabel("steps without a gradient", fontsize=8.5)
        axes.yaxis.set_major_locator(MaxNLocator(4))

    titles = [str(axes_of["tensors"][at]) for at in places]
    return draw_grid("coasting", titles, drawing)


def short_titles(titles: Sequence[str]) -> list[str]:
    """Titles of narrow axes: `0/weight (first), 10%` as `first 0, 10%`."""
    found = []
    for title in titles:
        place, _, rest = title.partition(" (")
        kind, _, moment = rest.partition("),")
        found.append(f"{kind} {place.split('/')[0]},{moment}")
    return found


def filters_figure(record: StudyRecord) -> str:
    """First filters of every optimizer's first classifier, each from its least to its greatest."""
    filters, names = record.arrays["filters"], list(looks(record))
    num_units = min(filters.shape[1], 12)

    def drawing(axes: Axes, place: int) -> None:
        own = filters[place, :num_units]
        own = own if own.shape[-1] == 3 else own.mean(axis=-1, keepdims=True)
        size = np.abs(own).max(axis=(1, 2, 3), keepdims=True) + 1e-30
        tiles = np.pad(0.5 + 0.5 * own / size, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
        row = np.concatenate(list(tiles), axis=1)
        picture(axes, row if row.shape[-1] == 3 else row[..., 0], "gray", (0.0, 1.0))

    height = 4.6 / num_units * (filters.shape[2] + 2) / (filters.shape[3] + 2)
    return draw_grid("filters", names, drawing, Grid(1, height, 0.1, 0.1, 0.28))


def picture(
    axes: Axes, values: Float[np.ndarray, "..."], colors: str, limits: tuple[float, float]
) -> Any:
    """An array as a picture without ticks."""
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    shown = axes.imshow(
        values, cmap=colors, vmin=limits[0], vmax=limits[1], interpolation="nearest"
    )
    axes.set_aspect("auto")
    return shown


def bands_figure(record: StudyRecord) -> str:
    """Energies of each layer's filters by band of frequency."""
    values, axes_of = record.arrays["bands"], record.about.axes

    def drawing(axes: Axes, place: int) -> None:
        lines_of_all(record, axes, np.arange(5.0), 100 * values[:, :, place], marked=True)
        axes.set_xticks(range(5), [str(band).removeprefix("to ") for band in axes_of["bands"]])
        axes.set_xlabel("frequency, share of the highest", fontsize=8.5)
        axes.set_ylabel("% of energy", fontsize=8.5)

    titles = [str(name) for name in axes_of["filter_layers"]]
    return draw_grid("bands", titles, drawing, Grid(min(len(titles), 2), 1.5))


def fourier_figure(record: StudyRecord) -> str:
    """Errors under single waves, of every optimizer, and the learned one's less each other's."""
    maps = 100 * record.arrays["fourier"].mean(axis=1)
    names = list(looks(record))
    titles = [*names, *(f"minus {name}" for name in names[1:])]
    most = float(np.ceil(np.abs(maps[1:] - maps[0]).max())) or 1.0
    low, high = float(np.floor(maps.min())), float(np.ceil(maps.max()))

    def drawing(axes: Axes, place: int) -> None:
        if place < len(names):
            values, colors, limits = maps[place], "viridis", (low, high)
        else:
            values, colors, limits = maps[0] - maps[1 + place - len(names)], "PuOr", (-most, most)
        picture(axes, values, colors, limits)
        if place >= len(names) and values.min() < 0 < values.max():
            axes.contour(values, levels=[0.0], colors="black", linewidths=0.8)
        axes.set_xlabel(f"{values.min():.0f} to {values.max():.0f}", fontsize=8, labelpad=2)

    return draw_grid("fourier", titles, drawing, Grid(3, 1.3, 0.1, 0.15, 0.5))


def spectrum_figure(record: StudyRecord) -> str:
    """The power of the gradient in the image by frequency."""

    def drawing(axes: Axes) -> None:
        radii = np.array(record.about.axes["radii"], float)
        lines_of_all(record, axes, radii, 100 * record.arrays["gradient_spectrum"], marked=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("cycles along the image")
        axes.set_ylabel("% of the gradient's power")
        legend(axes)

    return draw("spectrum", drawing, height=2.0)


def margins_figure(record: StudyRecord) -> str:
    """The distribution of logit margins over clean images."""

    def drawing(axes: Axes) -> None:
        shares = 100 * np.array(record.about.axes["quantiles"], float)
        for (name, look), own in zip(looks(record).items(), record.arrays["margins"], strict=True):
            line(axes, own.mean(axis=0)[1:-1], shares[1:-1], look, name, marked=False)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("margin, in units of the spread of logits")
        axes.set_ylabel("% of images below")
        legend(axes)

    return draw("margins", drawing, height=2.0)


def ranks_figure(record: StudyRecord) -> str:
    """The effective rank of what layers are given."""
    layers = [str(name) for name in record.about.axes["layers"]]

    def drawing(axes: Axes, _place: int) -> None:
        dots(record, axes, np.moveaxis(record.arrays["ranks"], 2, 0), layers)
        axes.set_xlabel("effective rank")

    return draw_grid("ranks", [""], drawing, Grid(1, 0.3 + 0.6 * len(layers), 1.0))


def dots(
    record: StudyRecord,
    axes: Axes,
    values: Float[np.ndarray, "rows optimizers seeds"],
    labels: Sequence[str],
    skip: int = 0,
) -> None:
    """A dot with its interval for every optimizer in every row."""
    chosen = list(looks(record).items())[skip:]
    for at, (name, look) in enumerate(chosen):
        height = np.arange(len(labels)) + 0.7 * ((at + 0.5) / len(chosen) - 0.5)
        intervals = [mean_interval(row[at]) for row in values]
        ends = [one.low for one in intervals], [one.high for one in intervals]
        axes.hlines(height, *ends, color=look.color, linewidth=1.2)
        axes.plot(
            [one.mean for one in intervals],
            height,
            look.marker,
            color=look.color,
            markersize=4.5,
            label=name,
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def corruptions_figure(record: StudyRecord) -> str:
    """The learned optimizer's accuracy less each other's, by corruption."""
    rows: dict[str, list[int]] = {}
    for at, one in enumerate(record.about.conditions):
        rows.setdefault("clean" if one.role == "clean" else readable(one.corruption), []).append(at)
    accuracy = 100 * record.arrays["accuracy"]
    values = np.stack(
        [(accuracy[:1, own] - accuracy[1:, own]).mean(axis=1) for own in rows.values()]
    )

    def drawing(axes: Axes, _place: int) -> None:
        dots(record, axes, values, list(rows), skip=1)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("its accuracy minus the other's, in points")

    left = 0.25 + LETTER * max(map(len, rows))
    return draw_grid("corruptions", [""], drawing, Grid(1, 0.24 * len(rows) + 0.2, left))


def severities_figure(record: StudyRecord) -> str:
    """Mean accuracy over corruptions by severity."""
    by_severity: dict[int, list[int]] = {0: [0]}
    for at, one in enumerate(record.about.conditions):
        if one.severity is not None:
            by_severity.setdefault(one.severity, []).append(at)

    def drawing(axes: Axes) -> None:
        accuracy = 100 * record.arrays["accuracy"]
        values = np.stack([accuracy[:, own].mean(axis=1) for own in by_severity.values()], axis=2)
        lines_of_all(record, axes, np.array(list(by_severity), float), values, marked=True)
        axes.set_xlabel("severity, 0 = clean")
        axes.set_ylabel("accuracy in %")
        axes.set_xticks(list(by_severity))
        legend(axes)

    return draw("severities", drawing, height=2.0)


def robustness_figure(record: StudyRecord) -> str:
    """Accuracy on corrupted images against that on clean ones, for runs of several lengths."""

    def drawing(axes: Axes) -> None:
        values = 100 * record.arrays["by_length"].mean(axis=3)
        for (name, look), own in zip(looks(record).items(), values, strict=True):
            line(axes, own[:, 0], own[:, 1], look, name, marked=True)
        axes.set_xlabel("accuracy on clean images in %")
        axes.set_ylabel("on corrupted images in %")
        legend(axes)

    return draw("robustness", drawing, height=2.4)


def ablation_figure(record: StudyRecord) -> str:
    """What each variant of theta loses, by family of corruptions."""
    values = 100 * record.arrays["ablation"]
    names = [str(name) for name in record.about.axes["variants"]][1:]
    families = [str(family) for family in record.about.axes["families"]]
    shown = [("mean of corruptions", values[:, 1:].mean(axis=1))]
    titles = ["clean" if family == "none" else family for family in families]
    shown += [(title, values[:, at]) for at, title in enumerate(titles)]

    def drawing(axes: Axes, place: int) -> None:
        own = shown[place][1]
        intervals = [mean_interval(row - own[0]) for row in own[1:]]
        for row, one in enumerate(intervals):
            is_open = one.low <= 0 <= one.high
            color = LEARNED_COLOR if one.mean > 0 else RIVAL_COLORS[0]
            axes.hlines(row, one.low, one.high, color=color, linewidth=1.2)
            fill = "none" if is_open else color
            axes.plot(one.mean, row, "o", color=color, markerfacecolor=fill, markersize=4)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(names)), names if place % 2 == 0 else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(3))

    left = 0.25 + 0.85 * LETTER * max(map(len, names))
    grid = Grid(2, 0.17 * len(names), left, 0.2, 0.5)
    return draw_grid("ablation", [title for title, _ in shown], drawing, grid)

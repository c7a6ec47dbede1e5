import math
import re
from collections.abc import Callable

import matplotlib as mpl
import msgspec
import numpy as np

from noiseproof.report.drawing import INK, styles
from noiseproof.report.figures import (
    accuracy_figures,
    curves_figure,
    difference_figure,
    metrics_figure,
)
from noiseproof.report.tables import comparison_groups
from noiseproof.results import MetricsLine, Record, summarize

Make = Callable[..., Record]
replace = msgspec.structs.replace
LINE = MetricsLine(1, 2.0, None, 100, 1.0, 1.0, 0.1, 0.0)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_accuracy_is_drawn_against_strength_and_not_against_severity(make_record: Make) -> None:
    record = make_record(num_seeds=3)
    figures = accuracy_figures(record)
    assert list(figures) == ["gaussian noise on fashion with mlp"]
    (svg,) = figures.values()
    names = {entry.name for entry in record.run.optimizers}
    assert names | {"meta-trained here"} <= set(texts(svg))
    assert accuracy_figures(make_record(num_seeds=2, severities=True)) == {}


def test_difference_dots_stand_in_order_and_are_filled_if_significant(make_record: Make) -> None:
    record = make_record(num_seeds=3, severities=True)
    group = comparison_groups(record.run, summarize(record))[0]
    settled = [
        replace(group[place], difference=gain, ci95=(gain - 0.01, gain + 0.01), p_holm=p)
        for place, gain, p in zip((0, 1, 4), [-0.1, 0.0, 0.1], [0.001, 0.9, 0.001], strict=True)
    ]
    svg = difference_figure("difference", settled)
    dots = re.findall(r'<use xlink:href="[^"]*" x="([\d.]+)" y="([\d.]+)" style="([^"]*)"', svg)
    dots = [dot for dot in dots if "#d55e00" in dot[2] or "#0072b2" in dot[2]]
    dots.sort(key=lambda dot: float(dot[1]))
    across, down = [float(dot[0]) for dot in dots], [float(dot[1]) for dot in dots]
    assert across == sorted(across)
    assert len(set(down)) == 3
    assert math.isclose(across[1] - across[0], across[2] - across[1], abs_tol=1e-3)
    filled = ["fill: none" in dot[2] or "fill-opacity: 0" in dot[2] for dot in dots]
    assert filled == [False, True, False]
    # Clean images have no family to name.
    assert {"noise", "blur"} <= set(texts(svg))
    assert "none" not in texts(svg)


def test_optimizers_are_told_apart_without_color() -> None:
    kinds = {"mine": "learned", "start": "initial"} | {f"rival {i}": "hand" for i in range(24)}
    found = styles(kinds)
    assert len({look.color for look in list(found.values())[:8]}) == 8
    for name in ("marker", "color"):  # with the dash
        assert len({(getattr(look, name), look.dash) for look in found.values()}) == len(kinds)
    assert found["mine"].width > max(look.width for name, look in found.items() if name != "mine")


def test_figures_take_the_pages_ink_and_hold_nothing_from_outside(make_record: Make) -> None:
    (svg,) = accuracy_figures(make_record(num_seeds=2)).values()
    assert INK not in svg
    assert "currentColor" in svg
    assert "http" not in svg
    assert "<metadata" not in svg
    assert svg.startswith("<svg")
    # Every reference meets an id of the same figure.
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert referred
    assert referred <= set(re.findall(r' id="([^"]+)"', svg))


def test_odd_names_and_extreme_numbers_are_drawn(make_record: Make) -> None:
    """What a damaged or diverged record may hold, each once a traceback of the drawing library."""
    record = make_record(num_seeds=2)
    odd = ["$\\frac{", "_hidden", "a" * 200, "%s {0} ü \u4e2d", "&<>"]
    entries = [
        replace(entry, name=name) for entry, name in zip(record.run.optimizers, odd, strict=True)
    ]
    run = replace(record.run, optimizers=entries)
    curve, low = record.curves.curve.copy(), record.curves.low.copy()
    curve[0], curve[1], curve[2] = math.inf, math.nan, 1e38
    curve[3, ::2], low[3] = -1e30, -math.inf
    changed = Record(run, record.scores, record.curves._replace(curve=curve, low=low))
    assert "$\\frac{" in texts(curves_figure(changed))
    assert not [word for word in texts(curves_figure(record)) if "$" in word]
    assert len(accuracy_figures(changed)) == 1
    nothing = np.full_like(curve, math.nan)
    curves = record.curves._replace(curve=nothing, low=nothing, high=nothing)
    assert curves_figure(record._replace(curves=curves)).startswith("<svg")
    lines = [replace(LINE, meta_loss=value) for value in (1e300, -1e300, 0.0, None)]
    assert metrics_figure(lines).startswith("<svg")


def test_metrics_without_select_loss_are_drawn() -> None:
    svg = metrics_figure([LINE, replace(LINE, outer_step=2, meta_loss=None)])
    assert "outer loss" in texts(svg)
    assert "on the select split" not in texts(svg)
    svg = metrics_figure([replace(LINE, select_loss=0.0)])
    assert "on the select split" in texts(svg)


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = dict(mpl.rcParams)
    metrics_figure([LINE])
    assert dict(mpl.rcParams) == before

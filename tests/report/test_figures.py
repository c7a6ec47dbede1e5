import math
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

from noiseproof.report.figures import (
    INK,
    accuracy_figures,
    curves_figure,
    difference_figure,
    metrics_figure,
    styles,
)
from noiseproof.report.tables import comparison_groups
from noiseproof.results import CurvePoint, MetricsLine, read_results, read_summary


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_accuracy_is_drawn_against_strength(record_folder: Callable[..., Path]) -> None:
    rows = read_results(record_folder(num_seeds=3) / "results.csv")
    figures = accuracy_figures(rows)
    assert list(figures) == ["gaussian noise on fashion with mlp"]
    (svg,) = figures.values()
    assert {row.optimizer for row in rows} | {"meta-trained here"} <= set(texts(svg))


def test_severities_are_no_strengths(record_folder: Callable[..., Path]) -> None:
    rows = read_results(record_folder(num_seeds=2, severities=True) / "results.csv")
    assert accuracy_figures(rows) == {}


def test_difference_dots_stand_in_order_and_are_filled_if_significant(
    record_folder: Callable[..., Path],
) -> None:
    summary = read_summary(record_folder(num_seeds=3, severities=True) / "summary.json")
    group = [comparison_groups(summary)[0][place] for place in (0, 1, 4)]
    settled = [
        made._replace(difference=gain, ci95=(gain - 0.01, gain + 0.01), p_holm=p)
        for made, gain, p in zip(group, [-0.1, 0.0, 0.1], [0.001, 0.9, 0.001], strict=True)
    ]
    svg = difference_figure("difference", settled)
    dots = re.findall(r'<use xlink:href="[^"]*" x="([\d.]+)" y="([\d.]+)" style="([^"]*)"', svg)
    dots = [dot for dot in dots if "#d55e00" in dot[2] or "#0072b2" in dot[2]]
    across, down = [float(dot[0]) for dot in dots], [float(dot[1]) for dot in dots]
    assert across == sorted(across)
    assert down == sorted(down)
    assert math.isclose(across[1] - across[0], across[2] - across[1], abs_tol=1e-3)
    assert ["fill: none" in dot[2] or "fill-opacity: 0" in dot[2] for dot in dots] == [
        False,
        True,
        False,
    ]
    # Clean images have no family to name.
    assert {"noise", "blur"} <= set(texts(svg))
    assert "none" not in texts(svg)


def test_optimizers_are_told_apart_without_color() -> None:
    kinds = {"mine": "learned", "start": "initial"} | {f"rival {i}": "hand" for i in range(8)}
    found = styles(kinds)
    assert len({look.color for look in list(found.values())[:8]}) == 8
    assert len({(look.marker, look.dash) for look in found.values()}) == len(kinds)
    assert found["mine"].width > max(look.width for name, look in found.items() if name != "mine")


def test_figures_take_the_pages_ink_and_hold_nothing_from_outside(
    record_folder: Callable[..., Path],
) -> None:
    (svg,) = accuracy_figures(read_results(record_folder(num_seeds=2) / "results.csv")).values()
    assert INK not in svg
    assert "currentColor" in svg
    assert "http" not in svg
    assert "<metadata" not in svg
    assert svg.startswith("<svg")
    # Every reference meets an id of the same figure.
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert referred
    assert referred <= set(re.findall(r' id="([^"]+)"', svg))


def test_curves_bear_diverged_and_single_runs() -> None:
    points = [CurvePoint("mine", step, 1.0 / (1 + step), math.nan, math.nan, 1) for step in (0, 10)]
    diverged = [
        CurvePoint("sgd", 0, 2.3, 2.2, 2.4, 3),
        CurvePoint("sgd", 10, math.nan, *2 * [math.nan], 3),
    ]
    svg = curves_figure(points + diverged, {"mine": "learned"})
    assert {"mine", "sgd"} <= set(texts(svg))


def test_metrics_without_select_loss_are_drawn() -> None:
    line = MetricsLine(1, 2.0, None, 100, 1.0, 1.0, 0.1, 0.0)
    svg = metrics_figure([line, line._replace(outer_step=2, meta_loss=math.nan)])
    assert "outer loss" in texts(svg)
    assert "on the select split" not in texts(svg)


def test_drawing_leaves_matplotlibs_settings_alone() -> None:
    before = dict(mpl.rcParams)
    metrics_figure([MetricsLine(1, 2.0, 1.9, 100, 1.0, 1.0, 0.1, 0.0)])
    assert dict(mpl.rcParams) == before


def test_an_optimizer_keeps_its_color_in_all_figures() -> None:
    kinds = {"mine": "learned", "adam": "hand", "sgd": "hand"}
    # In another order, and without one of them.
    points = [CurvePoint(name, 0, 1.0, 0.9, 1.1, 3) for name in ("sgd", "mine")]
    svg = curves_figure(points, kinds)
    assert styles(kinds)["sgd"].color in svg
    assert styles(kinds)["adam"].color not in svg

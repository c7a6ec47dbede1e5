"""The report: one HTML file from the records of a folder, with nothing outside it.

It opens anywhere, on a phone too, without a network and without scripts.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from noiseproof.report.figures import (
    accuracy_figures,
    curves_figure,
    difference_figure,
    metrics_figure,
)
from noiseproof.report.finding import finding
from noiseproof.report.tables import (
    Table,
    accuracy_tables,
    comparison_groups,
    comparison_table,
    cost_table,
    duration,
    held_out_table,
    num_seeds,
    optimizer_table,
    optimizers_in_order,
    readable,
)
from noiseproof.results import (
    CurvePoint,
    MetricsLine,
    ResultRow,
    Summary,
    has_record,
    read_curves,
    read_metrics,
    read_results,
    read_summary,
    to_json,
    write_text,
)

SVG_SPACE = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'

NUM_OPEN = 2
"""How many rivals are shown unfolded; the others are a tap away."""


class Records(NamedTuple):
    """What a folder of records holds.

    Attributes:
        rows: Of `results.csv`.
        summary: Of `summary.json`.
        metrics: Of `metrics.jsonl`; empty where there is none.
        curves: Of `curves.csv`; empty where there is none.
    """

    rows: Sequence[ResultRow]
    summary: Summary
    metrics: Sequence[MetricsLine]
    curves: Sequence[CurvePoint]


class Panel(NamedTuple):
    """A figure with its title and caption.

    Attributes:
        title: What it shows, for those who cannot see it too.
        caption: How to read it.
        svg: The figure.
    """

    title: str
    caption: str
    svg: Markup


def write_report(folder: Path) -> Path:
    """Write `report.html` from the records in a folder and return its path.

    Args:
        folder: Holds `results.csv` and `summary.json`, perhaps `metrics.jsonl` and `curves.csv`.

    Raises:
        ValueError: One of the first two is missing, or a file is not as the schema says.
    """
    path = folder / "report.html"
    write_text(path, render(read_records(folder)))
    return path


def write_figure(folder: Path, path: Path) -> Path:
    """Write the first accuracy figure of a folder's records as an SVG file.

    Raises:
        ValueError: A record is missing or not as the schema says, or nothing was tested at two
            strengths.
    """
    figures = accuracy_figures(read_results(folder / "results.csv"))
    if not figures:
        raise ValueError(f"{folder} holds no corruption at two strengths or more to draw.")
    svg = next(iter(figures.values()))
    # On its own it has a white ground, which on a page comes from the page.
    start = f'<svg {"" if "xmlns=" in svg else SVG_SPACE} style="background: white"'
    write_text(path, svg.replace("<svg", start, 1))
    return path


def read_records(folder: Path) -> Records:
    """Read the records in a folder; errors as in `write_report`."""
    missing = [name for name in ("results.csv", "summary.json") if not has_record(folder / name)]
    if missing:
        raise ValueError(
            f"{folder} must hold results.csv and summary.json, {' and '.join(missing)} is missing."
        )
    rows = read_results(folder / "results.csv")
    if not rows:
        raise ValueError(f"{folder / 'results.csv'} must hold one row or more, got none.")
    metrics, curves = folder / "metrics.jsonl", folder / "curves.csv"
    return Records(
        rows,
        read_summary(folder / "summary.json"),
        read_metrics(metrics) if has_record(metrics) else [],
        read_curves(curves) if has_record(curves) else [],
    )


def render(records: Records) -> str:
    """The page as HTML."""
    source = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(source)
    summary = records.summary
    return template.render(
        summary=summary,
        finding=finding(summary),
        facts=_facts(records),
        accuracy_panels=_accuracy_panels(records.rows),
        accuracy_tables=accuracy_tables(records.rows),
        held_out=held_out_table(summary) if summary.held_out_improved else None,
        comparisons=_comparisons(summary),
        num_open=NUM_OPEN,
        curve_panels=_curve_panels(records),
        optimizers=optimizer_table(summary, records.rows),
        cost=cost_table(summary),
        provenance=_provenance(summary),
        config=json.dumps(to_json(summary.provenance.config), indent=2, ensure_ascii=False),
    )


def _facts(records: Records) -> list[tuple[str, str]]:
    """What was run, in pairs of a name and a value."""
    rows, summary = records.rows, records.summary
    seen = dict.fromkeys(_condition(row) for row in rows if row.role == "meta_train")
    seeds: dict[str, set[int]] = {}
    for row in rows:
        seeds.setdefault(row.optimizer, set()).add(row.seed)
    steps = dict.fromkeys(f"{row.num_steps:,}" for row in rows)
    meta_seeds = dict.fromkeys(str(row.meta_seed) for row in rows if row.meta_seed is not None)
    split = summary.provenance.config.get("evaluation", {}).get("split", "test")
    facts = {
        "data": _listed(row.dataset for row in rows),
        "judged on": "" if split == "test" else f"the {split} split, for development",
        "classifier": _listed(row.model for row in rows),
        "preset": summary.preset,
        "tuned on": _listed(made.tuned_on for made in summary.optimizers if made.kind == "learned"),
        "seen in meta-training": ", ".join(seen),
        "run": f"{', '.join(steps)} inner steps",
        "each optimizer": num_seeds(len(run) for run in seeds.values()),
        "meta-seed": ", ".join(meta_seeds),
        "meta-training": duration(summary.meta_training.seconds),
    }
    return [(name, value) for name, value in facts.items() if value]


def _condition(row: ResultRow) -> str:
    return readable(row.corruption) + ("" if row.strength is None else f" {row.strength:g}")


def _listed(names: Any) -> str:
    return ", ".join(dict.fromkeys(names))


def _accuracy_panels(rows: Sequence[ResultRow]) -> list[Panel]:
    return [
        Panel(
            f"Accuracy against {title}",
            "Mean over seeds; bands are 95% t intervals of the mean. Differences within a seed "
            "are more certain than the bands suggest: see the comparisons.",
            Markup(svg),
        )
        for title, svg in accuracy_figures(rows).items()
    ]


def _comparisons(summary: Summary) -> list[tuple[Table, Panel]]:
    caption = (
        "Dots right of zero: the learned optimizer is better. Lines are paired 95% t intervals, "
        "filled dots significant after Holm; marks as in the table."
    )
    shown = []
    for place, group in enumerate(comparison_groups(summary)):
        title = f"{group[0].learned} minus {group[0].rival}"
        figure = Markup(difference_figure(f"difference-{place}", group))
        shown.append((comparison_table(group), Panel(title, caption, figure)))
    return shown


def _curve_panels(records: Records) -> list[Panel]:
    panels = []
    if records.curves:
        kinds = optimizers_in_order(records.rows)
        n = num_seeds(point.n for point in records.curves)
        svg = Markup(curves_figure(records.curves, kinds))
        caption = f"Mean with 95% t interval, {n}, on a log scale."
        panels.append(Panel("Inner training", caption, svg))
    if records.metrics:
        last = records.metrics[-1]
        caption = (
            f"One point per outer step; in the last, signal-to-noise of the meta-gradient "
            f"{last.snr:.2f}, diverged particles {100 * last.diverged_share:.0f}%."
        )
        panels.append(Panel("Meta-training", caption, Markup(metrics_figure(records.metrics))))
    return panels


def _provenance(summary: Summary) -> Table:
    origin = summary.provenance
    lines = [
        ("code version", origin.code_version),
        ("commit", origin.commit),
        ("python", origin.python),
        ("platform", origin.platform),
        ("device", origin.device),
        *((f"seeds: {name}", _runs(seeds)) for name, seeds in origin.seeds.items()),
        *origin.packages.items(),
    ]
    return Table("Where it comes from", ("what", "value"), tuple(lines), ())


def _runs(seeds: Sequence[int]) -> str:
    """Seeds as text, a long run of successive ones by its ends."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)

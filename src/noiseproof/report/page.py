"""The report: one HTML file from the records of a folder, with nothing outside it.

It opens anywhere, on a phone too, without a network and without scripts.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from noiseproof.files import write_whole
from noiseproof.report.figures import (
    accuracy_figures,
    curves_figure,
    difference_figure,
    metrics_figure,
    trials_figure,
)
from noiseproof.report.finding import finding
from noiseproof.report.samples import sample_figures
from noiseproof.report.tables import (
    Table,
    accuracy_table,
    comparison_groups,
    comparison_table,
    condition_name,
    cost_table,
    duration,
    held_out_table,
    in_blocks,
    metrics_table,
    num_seeds,
    optimizer_table,
    to_text,
)
from noiseproof.results import (
    Comparison,
    MetricsLine,
    Provenance,
    Record,
    Run,
    Summary,
    nested_violations,
    read_metrics,
    read_record,
    strongest_rival,
    summarize,
    write_summary,
)

SVG_SPACE = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'

NUM_OPEN = 2
"""How many rivals are shown unfolded; the others are a tap away."""


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
    """Write `summary.json` and `report.html` from the records in a folder.

    The same records give the same bytes.

    Args:
        folder: Holds `run.json` and `results.npz`, perhaps `metrics.jsonl`.

    Returns:
        The path of the page.

    Raises:
        ValueError: One of the first two is missing, or a file is not as the schema says.
    """
    record = read_record(folder)
    metrics = folder / "metrics.jsonl"
    summary, path = summarize(record), folder / "report.html"
    page = render(record, summary, read_metrics(metrics) if metrics.exists() else [])
    write_summary(folder / "summary.json", summary)
    write_whole(path, page)
    return path


def write_figure(folder: Path, path: Path) -> Path:
    """Write one figure of a folder's records as an SVG file.

    It is accuracy against the strength of the noise, or, where corruptions have severities, the
    differences to the strongest rival.

    Raises:
        ValueError: A record is missing or not as the schema says, or there is nothing to draw.
    """
    record = read_record(folder)
    panels = [*_accuracy_panels(record), *_first_panels(record, summarize(record))]
    if not panels:
        raise ValueError(f"{folder} holds neither noise of two strengths nor a rival to draw.")
    svg = str(panels[0].svg)
    # On its own it has a white ground, which on a page comes from the page.
    start = f'<svg {"" if "xmlns=" in svg else SVG_SPACE} style="background: white"'
    write_whole(path, svg.replace("<svg", start, 1))
    return path


def metrics_text(folder: Path, baseline: str) -> str:
    """Mean corruption errors of a folder's records, for the terminal.

    Raises:
        ValueError: A record is missing or not as the schema says, or the baseline is not in it.
    """
    return to_text(metrics_table(read_record(folder), baseline))


def template(name: str) -> Template:
    """A page of this folder, to be filled in."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)


def render(record: Record, summary: Summary, metrics: Sequence[MetricsLine]) -> str:
    """The page as HTML."""
    run = record.run
    return template("page.html").render(
        run=run,
        finding=finding(run, summary),
        facts=_facts(run),
        first_panels=_first_panels(record, summary),
        accuracy_panels=_accuracy_panels(record),
        accuracy_tables=in_blocks(accuracy_table(record)),
        sample_panels=_sample_panels(record),
        held_out=held_out_table(run, summary) if summary.held_out_improved else None,
        comparisons=_comparisons(run, summary),
        nested=nested_violations(record),
        num_open=NUM_OPEN,
        curve_panels=_curve_panels(record, metrics),
        optimizers=optimizer_table(record),
        cost=cost_table(run),
        provenance=provenance_table(run.provenance),
        config=json.dumps(run.provenance.config, indent=2, ensure_ascii=False),
    )


def _facts(run: Run) -> list[tuple[str, str]]:
    """What was run, in pairs of a name and a value."""
    seen = [condition for condition in run.conditions if condition.role == "meta_train"]
    evaluation = run.provenance.config.get("evaluation")
    split = evaluation.get("split", "test") if isinstance(evaluation, dict) else "test"
    facts = {
        "data": run.dataset,
        "judged on": "" if split == "test" else f"the {split} split, for development",
        "classifier": run.model,
        "preset": run.preset,
        "tuned on": _listed(one.tuned_on for one in run.optimizers if one.kind == "learned"),
        "seen in meta-training": _listed(map(condition_name, seen)),
        "run": f"{run.num_steps:,} inner steps",
        "each optimizer": num_seeds(len(run.seeds)),
        "meta-seed": str(run.meta_seed),
        "meta-training": duration(run.meta_training.seconds),
    }
    return [(name, value) for name, value in facts.items() if value]


def _first_panels(record: Record, summary: Summary) -> list[Panel]:
    """What a reader sees first: the strongest rival, and what tuning costs."""
    rival, panels = strongest_rival(record.run, summary), []
    groups = comparison_groups(record.run, summary)
    for group in groups:
        if group[0].rival == rival:
            panels.append(_differences(group, "strongest"))
    svg = trials_figure(record)
    if svg is not None:
        caption = (
            "The best outer loss that a search is expected to have found after so many trials, "
            "over all orders of those that knew nothing of each other; the learned optimizer was "
            "not tuned here."
        )
        panels.append(Panel("What tuning costs", caption, Markup(svg)))
    return panels


def _differences(group: Sequence[Comparison], name: str) -> Panel:
    title = f"{group[0].learned} minus {group[0].rival}"
    caption = (
        "Dots right of zero: the learned optimizer is better. Lines are paired 95% t intervals, "
        "filled dots significant after Holm; marks as in the table."
    )
    return Panel(title, caption, Markup(difference_figure(name, group)))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _accuracy_panels(record: Record) -> list[Panel]:
    return [
        Panel(
            f"Accuracy against {title}",
            "Mean over seeds; bands are 95% t intervals of the mean. Differences within a seed "
            "are more certain than the bands suggest: see the comparisons.",
            Markup(svg),
        )
        for title, svg in accuracy_figures(record).items()
    ]


def _sample_panels(record: Record) -> list[Panel]:
    caption = (
        "What one classifier of each optimizer, of the first seed, took the image for. A dot: its "
        "class; in a box: the class it said instead, or – where the run diverged. Named "
        "corruptions are at severity 3, with marks as in the table."
    )
    return [Panel(title, caption, Markup(svg)) for title, svg in sample_figures(record).items()]


def _comparisons(run: Run, summary: Summary) -> list[tuple[Table, Panel]]:
    return [
        (comparison_table(group), _differences(group, f"difference-{place}"))
        for place, group in enumerate(comparison_groups(run, summary))
    ]


def _curve_panels(record: Record, metrics: Sequence[MetricsLine]) -> list[Panel]:
    panels = []
    if record.curves.step.size:
        n = num_seeds(len(record.run.seeds))
        caption = f"Mean with 95% t interval, {n}, on a log scale."
        panels.append(Panel("Inner training", caption, Markup(curves_figure(record))))
    if metrics:
        snr, diverged = metrics[-1].snr, metrics[-1].diverged_share
        caption = (
            "The outer loss by outer step; in the last, signal-to-noise of the meta-gradient "
            f"{'–' if snr is None else f'{snr:.2f}'}, diverged particles "
            f"{'–' if diverged is None else f'{100 * diverged:.0f}%'}."
        )
        panels.append(Panel("Meta-training", caption, Markup(metrics_figure(metrics))))
    return panels


def provenance_table(origin: Provenance) -> Table:
    """Where records come from."""
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

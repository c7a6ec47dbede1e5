"""Tables of a report, as cells of text: the page and the terminal lay out the same ones.

Accuracies are in percent, with half the width of the 95% t interval over seeds; differences are
in percentage points, paired by seed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from noiseproof.results import (
    Accuracies,
    Comparison,
    Condition,
    Improvement,
    Interval,
    Kind,
    ResultRow,
    Role,
    Summary,
    accuracies,
    mean_interval,
)

KIND_ORDER: Sequence[Kind] = ("learned", "hand", "augmented", "control", "initial")
"""In what order optimizers are shown."""

ROLE_MARKS: dict[Role, tuple[str, str]] = {
    "meta_train": ("*", "Meta-trained on."),
    "kin": ("†", "Not meta-trained on, but of a family with something that was: not counted."),
    "validation": ("‡", "Used while rules were developed: not counted."),
}
"""What a condition that is not held out is marked by, and what the mark means."""


class Table(NamedTuple):
    """A table in text.

    Attributes:
        title: What it shows.
        header: One text per column; the first column names the lines.
        lines: As many texts in each.
        notes: Sentences beneath: unit, spread, n, what is missing.
    """

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def accuracy_tables(rows: Sequence[ResultRow]) -> list[Table]:
    """Accuracy by condition and optimizer, one table per data set and model.

    Corruptions with severities are shown by their mean over severities.
    """
    settings = list(dict.fromkeys((row.dataset, row.model) for row in rows))
    return [
        _accuracy_table([row for row in rows if (row.dataset, row.model) == setting])
        for setting in settings
    ]


def accuracy_text(rows: Sequence[ResultRow]) -> str:
    """The accuracy tables for the terminal."""
    return "\n\n".join(to_text(table) for table in accuracy_tables(rows))


def comparison_groups(summary: Summary) -> list[list[Comparison]]:
    """By learned optimizer, rival, data set and model; without single severities.

    Hand-designed rivals come first.
    """
    groups: dict[tuple[str, ...], list[Comparison]] = {}
    for made in summary.comparisons:
        if made.severity is None:
            key = (made.learned, made.rival, made.dataset, made.model)
            groups.setdefault(key, []).append(made)
    ranks = {made.name: KIND_ORDER.index(made.kind) for made in summary.optimizers}
    last = len(KIND_ORDER)
    return sorted(groups.values(), key=lambda group: ranks.get(group[0].rival, last))


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Differences and intervals of one of `comparison_groups`."""
    first = comparisons[0]
    lines = tuple(
        (
            condition_label(made),
            percent(made.learned_mean),
            percent(made.rival_mean),
            points(made.difference),
            "–" if made.n == 1 else f"{points(made.ci95[0])} to {points(made.ci95[1])}",
            p_value(made.p_holm),
            verdict(made),
        )
        for made in comparisons
    )
    return Table(
        f"{first.learned} against {first.rival} on {first.dataset} with {first.model}",
        ("condition", first.learned, first.rival, "difference", "95% interval", "p", "verdict"),
        lines,
        (
            f"Accuracy in percent, differences in points, paired by seed, "
            f"{num_seeds(made.n for made in comparisons)}; p adjusted by Holm, verdict at 0.05.",
            *role_notes(comparisons),
        ),
    )


def held_out_table(summary: Summary) -> Table:
    """On how many held-out conditions the learned optimizer beats each rival, and by how much."""
    rivals = dict.fromkeys(group[0].rival for group in comparison_groups(summary))
    lines = tuple(
        _held_out_line(rival, summary.held_out_improved[rival], summary.comparisons)
        for rival in rivals
        if rival in summary.held_out_improved
    )
    return Table(
        "Held-out conditions, by rival",
        (
            *("rival", "better on", "significantly", "mean difference", "95% interval"),
            *("sign test p", "kin, better on"),
        ),
        lines,
        (
            "Mean over held-out conditions, in points, paired by seed; significant: p < 0.05 after "
            "Holm; the sign test is over conditions. Kin of what was meta-trained on stand apart.",
        ),
    )


def optimizer_table(summary: Summary, rows: Sequence[ResultRow]) -> Table | None:
    """Calibration on held-out conditions and cost of training; None where neither is recorded."""
    kinds = {made.name: made for made in summary.optimizers}
    names = [name for name in optimizers_in_order(rows) if name in kinds]
    if not any(kinds[name].train_seconds for name in names):
        return None
    lines = []
    for name in names:
        errors = [
            row.calibration_error
            for row in rows
            if row.optimizer == name and row.role == "held_out"
            if row.calibration_error is not None and math.isfinite(row.calibration_error)
        ]
        seconds, size = kinds[name].train_seconds, kinds[name].train_bytes
        lines.append(
            (
                name,
                kinds[name].kind,
                percent(float(np.mean(errors))) if errors else "–",
                "–" if seconds is None else f"{seconds:.2f} s",
                "–" if size is None else f"{size / 2**20:.1f} MiB",
            )
        )
    return Table(
        "Calibration and cost of training",
        ("optimizer", "kind", "calibration error", "time", "memory"),
        tuple(lines),
        (
            "Expected calibration error on held-out conditions in percent, diverged runs left out; "
            "time and memory of one classifier, all seeds trained at once, compiling left out.",
        ),
    )


def cost_table(summary: Summary) -> Table:
    """What meta-training and the tuning of rivals took."""
    cost = summary.meta_training
    lines = [
        ("outer steps", f"{cost.outer_steps:,}"),
        ("inner steps", f"{cost.inner_steps:,}"),
        ("time", duration(cost.seconds)),
        ("inner steps per second", f"{cost.inner_steps_per_second:,.0f}"),
        ("device", cost.device),
    ]
    tried = [(f"trials of {made.name}", str(made.trials)) for made in summary.optimizers]
    tuned = [line for line, made in zip(tried, summary.optimizers, strict=True) if made.trials]
    return Table("Cost of meta-training and tuning", ("what", "how much"), (*lines, *tuned), ())


def to_text(table: Table) -> str:
    """The table in fixed-width text: names to the left, numbers to the right."""
    grid = [table.header, *table.lines]
    widths = [max(len(line[column]) for line in grid) for column in range(len(table.header))]
    laid_out = [
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        ).rstrip()
        for line in grid
    ]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([table.title, rule, laid_out[0], rule, *laid_out[1:], rule, *table.notes])


def intervals(table: Accuracies) -> dict[Condition, dict[str, Interval]]:
    """Mean and 95% interval over seeds, by condition (no single severities) and optimizer."""
    return {
        condition: {
            name: mean_interval(np.array(list(by_seed.values())))
            for name, by_seed in by_optimizer.items()
        }
        for condition, by_optimizer in table.items()
        if condition.severity is None
    }


def optimizers_in_order(rows: Iterable[ResultRow]) -> dict[str, Kind]:
    """Kinds by name, learned first, and within a kind as in the rows."""
    kinds: dict[str, Kind] = {row.optimizer: row.kind for row in rows}
    ordered = sorted(kinds, key=lambda name: KIND_ORDER.index(kinds[name]))
    return {name: kinds[name] for name in ordered}


def condition_label(condition: Condition | Comparison) -> str:
    """A condition in a word or two: corruption, strength, and its role's mark."""
    if condition.role == "clean":
        return "clean"
    size = "" if condition.strength is None else f" {condition.strength:g}"
    mark, _ = ROLE_MARKS.get(condition.role, ("", ""))
    return readable(condition.corruption) + size + mark


def readable(name: str) -> str:
    """A name of the records as words."""
    return name.replace("_", " ")


def percent(share: float) -> str:
    """A share in percent, one decimal."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed, with a true minus."""
    # A difference of -0.0001 would else be shown as a minus zero.
    rounded = round(100 * difference, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p value to three decimals."""
    if math.isnan(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Seconds in hours, minutes and seconds."""
    if not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def verdict(comparison: Comparison) -> str:
    """`better` or `worse` where the adjusted p value is below 0.05, else `open`."""
    if not comparison.p_holm < 0.05:
        return "open"
    return "better" if comparison.difference > 0 else "worse"


def num_seeds(counts: Iterable[int]) -> str:
    """The number of seeds in words, with its range where it differs."""
    found = sorted(counts)
    number = f"{found[0]}" if found[0] == found[-1] else f"{found[0]} to {found[-1]}"
    return f"n = {number} {'seed' if found[-1] == 1 else 'seeds'}"


def role_notes(conditions: Iterable[Condition | Comparison]) -> tuple[str, ...]:
    """What the marks mean, where there are any."""
    roles = {condition.role for condition in conditions}
    return tuple(f"{mark} {words}" for role, (mark, words) in ROLE_MARKS.items() if role in roles)


def diverged_notes(rows: Iterable[ResultRow]) -> tuple[str, ...]:
    """One sentence per optimizer of which runs diverged."""
    runs: dict[str, dict[int, bool]] = {}
    for row in rows:
        seen = runs.setdefault(row.optimizer, {})
        seen[row.seed] = seen.get(row.seed, False) or row.diverged
    return tuple(
        f"{sum(seeds.values())} of {len(seeds)} runs of {name} diverged and count as chance."
        for name, seeds in runs.items()
        if any(seeds.values())
    )


def _held_out_line(
    rival: str, improved: Improvement, comparisons: Iterable[Comparison]
) -> tuple[str, ...]:
    differences, kin = (
        [
            made.difference
            for made in comparisons
            if (made.rival, made.role, made.severity) == (rival, role, None)
        ]
        for role in ("held_out", "kin")
    )
    low, high = improved.ci95 or (math.nan, math.nan)
    return (
        rival,
        f"{improved.count} of {improved.of}",
        str(improved.significant),
        points(float(np.mean(differences))) if differences else "–",
        "–" if math.isnan(low) else f"{points(low)} to {points(high)}",
        "–" if improved.p_sign is None else p_value(improved.p_sign),
        f"{sum(np.array(kin) > 0)} of {len(kin)}" if kin else "–",
    )


def _accuracy_table(rows: Sequence[ResultRow]) -> Table:
    names = optimizers_in_order(rows)
    table = accuracies(rows)
    found = intervals(table)
    lines = [
        (condition_label(condition), *(_cell(cells.get(name)) for name in names))
        for condition, cells in found.items()
    ]
    held_out = [table[condition] for condition in found if condition.role == "held_out"]
    if len(held_out) > 1:
        means = [_cell(_mean_over(held_out, name)) for name in names]
        lines.append((f"mean of {len(held_out)} held out", *means))
    n = num_seeds(cell.n for cells in found.values() for cell in cells.values())
    return Table(
        f"Accuracy on {rows[0].dataset} with {rows[0].model}",
        ("condition", *names),
        tuple(lines),
        (
            f"In percent: mean ± half of the 95% t interval, {n}.",
            *role_notes(found),
            *diverged_notes(rows),
        ),
    )


def _mean_over(
    conditions: Sequence[Mapping[str, Mapping[int, float]]], name: str
) -> Interval | None:
    """Mean and interval over seeds of the mean over conditions; None if one lacks a seed."""
    by_seed = [by_optimizer.get(name, {}) for by_optimizer in conditions]
    if not by_seed[0] or any(set(found) != set(by_seed[0]) for found in by_seed):
        return None
    return mean_interval(np.array([[found[s] for s in by_seed[0]] for found in by_seed]).mean(0))


def _cell(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    if interval.n == 1:
        return percent(interval.mean)
    return f"{percent(interval.mean)} ± {percent((interval.high - interval.low) / 2)}"

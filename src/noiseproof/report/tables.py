"""Tables of a report, as cells of text: the page and the terminal lay out the same ones.

Accuracies are in percent, with half the width of the 95% t interval over seeds; differences are
in percentage points, paired by seed.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from noiseproof.results import (
    Comparison,
    Condition,
    Improvement,
    Interval,
    Kind,
    Record,
    Role,
    Run,
    Summary,
    TuningCost,
    accuracies,
    mean_interval,
    places,
    robustness_metrics,
    significant,
)

KIND_ORDER: Sequence[Kind] = (
    *("learned", "hand", "transferred", "augmented", "control", "initial"),
)
"""In what order optimizers are shown."""

ROLE_MARKS: dict[Role, tuple[str, str]] = {
    "meta_train": ("*", "Meta-trained on."),
    "kin": ("†", "Not meta-trained on, but of a family with something that was: not counted."),
    "validation": ("‡", "Used while rules were developed: not counted."),
    "published": ("§", "Images of published files, beside our own draws: not counted."),
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


def accuracy_table(record: Record) -> Table:
    """Accuracy by condition and optimizer.

    Corruptions with severities are shown by their mean over severities.
    """
    names, place = optimizers_in_order(record.run), places(record)
    table = {c: values for c, values in accuracies(record).items() if c.severity is None}
    lines = [
        (condition_label(condition), *(_cell(values[place[name]]) for name in names))
        for condition, values in table.items()
    ]
    held_out = [values for condition, values in table.items() if condition.role == "held_out"]
    if len(held_out) > 1:
        means = np.mean(held_out, axis=0)
        cells = (_cell(means[place[name]]) for name in names)
        lines.append((f"mean of {len(held_out)} held out", *cells))
    return Table(
        f"Accuracy on {record.run.dataset} with {record.run.model}",
        ("condition", *names),
        tuple(lines),
        (
            f"In percent: mean ± half of the 95% t interval, {num_seeds(len(record.run.seeds))}.",
            *role_notes(table),
            *diverged_notes(record),
        ),
    )


def accuracy_text(record: Record) -> str:
    """The accuracy table for the terminal."""
    return to_text(accuracy_table(record))


def metrics_table(record: Record, baseline: str) -> Table:
    """Clean error, mean corruption error and both relative ones, by optimizer.

    Raises:
        ValueError: As in `robustness_metrics`.
    """
    lines = tuple(
        (
            metrics.optimizer,
            percent(metrics.clean_error),
            percent(metrics.mean_error),
            percent(metrics.mce),
            "–" if metrics.relative_mce is None else percent(metrics.relative_mce),
        )
        for metrics in robustness_metrics(record, baseline)
    )
    return Table(
        f"Errors on {record.run.dataset} with {record.run.model}",
        ("optimizer", "clean error", "mean error", "mCE", "relative mCE"),
        lines,
        (
            f"In percent, {num_seeds(len(record.run.seeds))}: error on clean images, mean error "
            "over all corruptions with severities, and the same relative to "
            f"{baseline} (100), corruption by corruption; relative mCE takes the rise above the "
            "clean error.",
        ),
    )


def comparison_groups(run: Run, summary: Summary) -> list[list[Comparison]]:
    """By rival, without single severities; hand-designed rivals come first."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in summary.comparisons:
        if comparison.condition.severity is None:
            groups.setdefault(comparison.rival, []).append(comparison)
    return [groups[name] for name in optimizers_in_order(run) if name in groups]


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Differences and intervals of one of `comparison_groups`."""
    first = comparisons[0]
    lines = tuple(
        (
            condition_label(comparison.condition),
            percent(comparison.learned_mean),
            percent(comparison.rival_mean),
            points(comparison.difference),
            interval_text(comparison.ci95),
            p_value(comparison.p_holm),
            verdict(comparison),
        )
        for comparison in comparisons
    )
    return Table(
        f"{first.learned} against {first.rival}",
        ("condition", first.learned, first.rival, "difference", "95% interval", "p", "verdict"),
        lines,
        (
            f"Accuracy in percent, differences in points, paired by seed, "
            f"{num_seeds(first.n)}; p adjusted by Holm, verdict at 0.05.",
            *role_notes(comparison.condition for comparison in comparisons),
        ),
    )


def held_out_table(run: Run, summary: Summary) -> Table:
    """On how many held-out conditions the learned optimizer beats each rival, and by how much."""
    lines = tuple(
        _held_out_line(rival, summary.held_out_improved[rival], summary)
        for rival in optimizers_in_order(run)
        if rival in summary.held_out_improved
    )
    return Table(
        "Held-out conditions, by rival",
        (
            *("rival", "better on", "significantly", "mean difference", "95% interval"),
            *("sign test p", "kin, better on", "trials until level"),
        ),
        lines,
        (
            "Mean over held-out conditions, in points, paired by seed; significant: p < 0.05 after "
            "Holm; the sign test is over conditions. Kin of what was meta-trained on stand apart.",
            *trials_notes(summary),
        ),
    )


def optimizer_table(record: Record) -> Table | None:
    """Calibration on held-out conditions and cost of training; None where no cost was taken."""
    entries = {entry.name: entry for entry in record.run.optimizers}
    if not any(entry.train_seconds for entry in entries.values()):
        return None
    place = places(record)
    held_out = [condition.role == "held_out" for condition in record.run.conditions]
    errors = record.scores.calibration_error[:, held_out].astype(np.float64)
    lines = []
    for name in optimizers_in_order(record.run):
        known = errors[place[name]][np.isfinite(errors[place[name]])]
        seconds, size = entries[name].train_seconds, entries[name].train_bytes
        lines.append(
            (
                name,
                entries[name].kind,
                percent(float(known.mean())) if known.size else "–",
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


def cost_table(run: Run) -> Table:
    """What meta-training and the tuning of rivals took."""
    cost = run.meta_training
    speed = cost.inner_steps_per_second
    lines = [
        ("outer steps", f"{cost.outer_steps:,}"),
        ("inner steps", f"{cost.inner_steps:,}"),
        ("time", duration(cost.seconds)),
        ("inner steps per second", "–" if speed is None else f"{speed:,.0f}"),
        ("device", cost.device),
    ]
    tuned = [
        (f"trials of {entry.name}", str(entry.trials)) for entry in run.optimizers if entry.trials
    ]
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


def optimizers_in_order(run: Run) -> dict[str, Kind]:
    """Kinds by name, learned first, and within a kind as in the record."""
    ordered = sorted(run.optimizers, key=lambda entry: KIND_ORDER.index(entry.kind))
    return {entry.name: entry.kind for entry in ordered}


def condition_label(condition: Condition) -> str:
    """A condition in a word or two: corruption, strength, and its role's mark."""
    if condition.role == "clean":
        return "clean"
    mark, _ = ROLE_MARKS.get(condition.role, ("", ""))
    return condition_name(condition) + mark


def condition_name(condition: Condition) -> str:
    """Corruption and strength."""
    size = "" if condition.strength is None else f" {condition.strength:g}"
    return readable(condition.corruption) + size


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


def interval_text(ends: tuple[float, float] | None) -> str:
    """The ends of an interval of differences."""
    return "–" if ends is None else f"{points(ends[0])} to {points(ends[1])}"


def p_value(value: float | None) -> str:
    """A p value to three decimals."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds in hours, minutes and seconds."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def verdict(comparison: Comparison) -> str:
    """`better` or `worse` where the adjusted p value is below 0.05, else `open`."""
    if not significant(comparison):
        return "open"
    return "better" if comparison.difference > 0 else "worse"


def num_seeds(number: int) -> str:
    """The number of seeds in words."""
    return f"n = {number} {'seed' if number == 1 else 'seeds'}"


def role_notes(conditions: Iterable[Condition]) -> tuple[str, ...]:
    """What the marks mean, where there are any."""
    roles = {condition.role for condition in conditions}
    return tuple(f"{mark} {words}" for role, (mark, words) in ROLE_MARKS.items() if role in roles)


def diverged_notes(record: Record) -> tuple[str, ...]:
    """One sentence per optimizer of which runs diverged."""
    return tuple(
        f"{diverged.sum()} of {diverged.size} runs of {entry.name} diverged and count as chance."
        for entry, diverged in zip(record.run.optimizers, record.scores.diverged, strict=True)
        if diverged.any()
    )


def _held_out_line(rival: str, improved: Improvement, summary: Summary) -> tuple[str, ...]:
    kin = [
        comparison.difference > 0
        for comparison in summary.comparisons
        if comparison.rival == rival
        and comparison.condition.role == "kin"
        and comparison.condition.severity is None
    ]
    return (
        rival,
        f"{improved.count} of {improved.of}",
        str(improved.significant),
        points(improved.difference),
        interval_text(improved.ci95),
        p_value(improved.p_sign),
        f"{sum(kin)} of {len(kin)}" if kin else "–",
        trials_until_level(summary.tuning_costs.get(rival)),
    )


def trials_until_level(cost: TuningCost | None) -> str:
    """How many trials a rival needs to reach the learned optimizer, or that it did not."""
    if cost is None:
        return "–"
    reached = cost.trials_to_reach
    return f"not in {cost.of}" if reached is None else str(reached)


def trials_notes(summary: Summary) -> tuple[str, ...]:
    """What trials are counted, where there are any."""
    note = (
        "Trials until level: after so many the best outer loss that a search is expected to have "
        "found, over all orders of trials that knew nothing of each other, is that of the learned "
        "optimizer, which took none here. A rival is level where one that it contains is; trials "
        "of others that a search began from are not counted."
    )
    return (note,) if summary.tuning_costs else ()


def in_blocks(table: Table, most: int = 8) -> list[Table]:
    """A table as several, each with its first column and at most so many of the others."""
    width = len(table.header) - 1
    if width <= most:
        return [table]
    each = -(-width // -(-width // most))
    starts = range(1, width + 1, each)

    def cut(row: tuple[str, ...], start: int) -> tuple[str, ...]:
        return (row[0], *row[start : start + each])

    return [
        table._replace(
            title=table.title if start == 1 else f"{table.title}, further optimizers",
            header=cut(table.header, start),
            lines=tuple(cut(line, start) for line in table.lines),
            notes=table.notes if start + each > width else (),
        )
        for start in starts
    ]


def _cell(values: Float[np.ndarray, " seeds"]) -> str:
    interval: Interval = mean_interval(values)
    if interval.n == 1:
        return percent(interval.mean)
    return f"{percent(interval.mean)} ± {percent((interval.high - interval.low) / 2)}"

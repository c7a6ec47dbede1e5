"""The comparison: tune the rivals, train classifiers with every optimizer, test, write, report."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Key

from noiseproof.evaluate.comparison import compare, held_out_improved
from noiseproof.evaluate.protocol import Contestant, Judged, curve_points, judge, result_rows
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.build import Experiment
from noiseproof.experiment.contestants import MetaTrained, contestants
from noiseproof.experiment.progress import Progress
from noiseproof.report.page import write_report
from noiseproof.report.tables import accuracy_text
from noiseproof.results import (
    OptimizerEntry,
    Provenance,
    Summary,
    collect_provenance,
    write_curves,
    write_results,
    write_summary,
)


def run_comparison(
    experiment: Experiment,
    learned: MetaTrained,
    folder: Path,
    progress: Progress,
    *,
    name: str,
    seed: int,
) -> Summary:
    """Runs the final evaluation and writes its records and report to the folder.

    Args:
        experiment: The experiment.
        learned: The learned optimizer and its controls.
        folder: Where everything is written.
        progress: What is told how far it is.
        name: Of the preset, for the records.
        seed: Of meta-training, tuning and the inner runs.
    """
    problem, num_steps = experiment.problem, experiment.problem.objective.num_steps
    outer_kind = experiment.record["outer"]["kind"]
    tune_key, judge_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    everyone = contestants(experiment, learned, folder, progress, tune_key)
    sets = experiment.conditions.test_sets(experiment.split)
    keys = jax.random.split(judge_key, experiment.num_seeds)
    rows, curves, entries = [], [], []
    for contestant in everyone:
        progress.say(f"training {len(keys)} classifiers with {contestant.name}")
        judged = judged_on(experiment, contestant, sets, keys)
        rows += result_rows(
            contestant,
            judged,
            sets,
            experiment=outer_kind,
            dataset=problem.dataset.name,
            model=problem.model_name,
            meta_seed=seed,
            num_steps=num_steps,
        )
        curves += curve_points(contestant.name, judged, num_steps=num_steps)
        entries.append(entry(contestant, judged))
    comparisons = compare(
        rows, learned=everyone[0].name, rivals=[contestant.name for contestant in everyone[1:]]
    )
    summary = Summary(
        experiment=outer_kind,
        preset=name,
        meta_training=learned.cost,
        optimizers=entries,
        comparisons=comparisons,
        held_out_improved=held_out_improved(comparisons, rows),
        provenance=provenance(
            experiment.record, {"meta": [seed], "inner": list(range(experiment.num_seeds))}
        ),
    )
    write_results(folder / "results.csv", rows)
    write_curves(folder / "curves.csv", curves)
    write_summary(folder / "summary.json", summary)
    write_report(folder)
    progress.say(accuracy_text(rows))
    return summary


def judged_on(
    experiment: Experiment,
    contestant: Contestant,
    sets: list[TestSet],
    keys: Key[Array, " seeds"],
) -> Judged:
    """What a contestant's classifiers reach."""
    problem = experiment.problem
    return judge(
        contestant.task,
        problem.model,
        contestant.recipe,
        problem.data,
        sets,
        keys,
        num_steps=problem.objective.num_steps,
        num_classes=problem.dataset.num_classes,
    )


def entry(contestant: Contestant, judged: Judged) -> OptimizerEntry:
    """A contestant in the records."""
    return OptimizerEntry(
        name=contestant.name,
        kind=contestant.kind,
        tuned_on=contestant.tuned_on,
        trials=contestant.num_trials,
        train_seconds=judged.train_seconds,
        train_bytes=judged.train_bytes,
    )


def provenance(record: dict[str, Any], seeds: Mapping[str, list[int]]) -> Provenance:
    """Where records of this process come from.

    Args:
        record: The settings as JSON has them.
        seeds: By what they are for.
    """
    return collect_provenance(
        device=device_words(), seeds=dict(seeds), arguments=sys.argv, config=record
    )


def device_words() -> str:
    """What JAX computes on, in words."""
    devices = jax.devices()
    return f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform})"

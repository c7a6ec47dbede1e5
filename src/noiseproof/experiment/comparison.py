"""The comparison: tune the rivals, train classifiers with every optimizer, test, write, report."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Key

from noiseproof.evaluate.protocol import Contestant, Judged, curves, judge_all, scores, trials
from noiseproof.evaluate.samples import samples
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.build import Experiment
from noiseproof.experiment.contestants import MetaTrained, contestants
from noiseproof.experiment.progress import Progress, corrupting
from noiseproof.metatrain.sharding import spread
from noiseproof.report.finding import finding
from noiseproof.report.page import write_report
from noiseproof.report.tables import accuracy_text
from noiseproof.results import (
    Condition,
    OptimizerEntry,
    Provenance,
    Record,
    Run,
    Summary,
    collect_provenance,
    nested_violations,
    read_summary,
    write_record,
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
    judge_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))[1]
    everyone = contestants(experiment, learned, folder, progress, seed)
    keys = jax.random.split(judge_key, experiment.num_seeds)

    @cache
    def test_sets() -> list[TestSet]:
        return experiment.conditions.test_sets(experiment.split, corrupting(progress))

    judged = all_judged(experiment, everyone, test_sets, progress, keys)
    sets = test_sets()
    problem, seeds = experiment.problem, list(range(experiment.num_seeds))
    num_images, num_steps = len(sets[0].batch.labels), problem.objective.num_steps
    run = Run(
        experiment=experiment.record["outer"]["kind"],
        preset=name,
        dataset=problem.dataset.name,
        model=problem.model_name,
        num_steps=num_steps,
        num_images=num_images,
        num_classes=problem.dataset.num_classes,
        meta_seed=seed,
        meta_training=learned.cost,
        provenance=provenance(experiment.record, {"meta": [seed], "inner": seeds}),
        seeds=seeds,
        optimizers=[entry(*pair) for pair in zip(everyone, judged, strict=True)],
        conditions=[condition(test_set) for test_set in sets],
    )
    record = Record(
        run,
        scores(judged, num_images=num_images),
        curves(judged, num_steps=num_steps),
        trials(everyone),
        samples(sets, [one.said for one in judged]),
    )
    write_record(folder, record)
    write_report(folder)
    progress.say(accuracy_text(record))
    summary = read_summary(folder / "summary.json")
    for line in nested_violations(record):
        progress.say(line)
    progress.say(f"Found: {finding(run, summary)}")
    progress.say(f"The page: {folder / 'report.html'}")
    return summary


def all_judged(
    experiment: Experiment,
    everyone: Sequence[Contestant],
    test_sets: Callable[[], list[TestSet]],
    progress: Progress,
    keys: Key[Array, " seeds"],
) -> list[Judged]:
    """What the contestants' classifiers reach."""
    problem, num_keys = experiment.problem, len(keys)
    compiled = partial(progress.part, "compiling optimizers", "programs")

    def on_judged(done: int, total: int) -> None:
        progress.part("training classifiers", "runs", done * num_keys, total * num_keys)

    def on_compiled(done: int, total: int) -> None:
        if done == 1:
            each = f"each of {len(everyone)} optimizers"
            progress.say(f"training {num_keys} classifiers with {each}")
        compiled(done, total)
        if done == total:
            on_judged(0, total)

    return judge_all(
        [contestant.trained for contestant in everyone],
        *(problem.model, problem.data, test_sets, keys),
        layout=problem.objective.layout,
        num_steps=problem.objective.num_steps,
        num_classes=problem.dataset.num_classes,
        placement=spread(problem.objective.placement, num_keys),
        on_compiled=on_compiled,
        on_judged=on_judged,
    )


def entry(contestant: Contestant, judged: Judged) -> OptimizerEntry:
    """A contestant in the records."""
    return OptimizerEntry(
        name=contestant.name,
        kind=contestant.kind,
        tuned_on=contestant.tuned_on,
        trials=contestant.tuned.num_trials if contestant.tuned else 0,
        outer_loss=finite(contestant.outer_loss),
        settings={knob: float(value) for knob, value in contestant.knobs.items()},
        contains=list(contestant.contains),
        train_seconds=judged.train_seconds,
        train_bytes=judged.train_bytes,
    )


def finite(loss: float | None) -> float | None:
    """A loss of the records; None where it is not finite."""
    return loss if loss is not None and math.isfinite(loss) else None


def condition(test_set: TestSet) -> Condition:
    """A test set in the records."""
    return Condition(
        corruption=test_set.corruption,
        family=test_set.family,
        role=test_set.role,
        severity=test_set.severity,
        strength=test_set.strength,
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

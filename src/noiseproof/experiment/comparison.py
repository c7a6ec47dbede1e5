"""The comparison: tune the rivals, train classifiers with every optimizer, test, write, report."""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from jaxtyping import Array, Key
from rich.console import Console

from noiseproof.evaluate.comparison import compare, held_out_improved
from noiseproof.evaluate.protocol import (
    Contestant,
    Judged,
    curve_points,
    judge,
    result_rows,
)
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.conditions import test_sets
from noiseproof.experiment.contestants import (
    AUGMENTATIONS,
    Comparison,
    augmented_contestants,
    learned_contestants,
    rival_contestants,
)
from noiseproof.experiment.problem import Problem
from noiseproof.experiment.settings import Config, as_dict
from noiseproof.report.page import write_report
from noiseproof.report.tables import accuracy_text
from noiseproof.results import (
    OptimizerEntry,
    ResultRow,
    Summary,
    collect_provenance,
    write_curves,
    write_results,
    write_summary,
)
from noiseproof.rivals import RIVALS


def check_comparison(config: Config) -> None:
    """Raises ValueError where the final evaluation could not be run, before anything is."""
    for option, names, known in (
        ("rivals", config.tuning.rivals, RIVALS),
        ("matched_rivals", config.tuning.matched_rivals, RIVALS),
        ("augmented_rival", (config.tuning.augmented_rival,), RIVALS),
        ("augmentations", config.tuning.augmentations, AUGMENTATIONS),
    ):
        for name in names:
            if name not in known:
                raise ValueError(f"tuning.{option} must be among {', '.join(known)}, got {name}.")
    if not config.tuning.rivals:
        raise ValueError("tuning.rivals must name at least one rival.")
    if config.evaluation.num_seeds < 2:
        raise ValueError(
            f"evaluation.num_seeds must be at least 2, got {config.evaluation.num_seeds}."
        )
    if not config.evaluation.strengths or min(config.evaluation.strengths) <= 0:
        raise ValueError("evaluation.strengths must be positive noise scales.")


def run_comparison(
    comparison: Comparison, problem: Problem, folder: Path, console: Console
) -> Summary:
    """Runs the final evaluation and writes its records and report to the folder."""
    config, seed = comparison.config, comparison.seed
    tune_key, judge_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    contestants = [
        *learned_contestants(comparison, problem),
        *rival_contestants(comparison, problem, folder, console, tune_key),
        *augmented_contestants(comparison, problem, folder, console, tune_key),
    ]
    sets = test_sets(config, problem)
    keys = jax.random.split(judge_key, config.evaluation.num_seeds)
    rows, curves, entries = [], [], []
    for contestant in contestants:
        console.print(f"training {len(keys)} classifiers with {contestant.name}")
        judged = _judge(contestant, config, problem, sets, keys)
        rows += _rows(contestant, judged, config, problem, sets, seed)
        curves += curve_points(contestant.name, judged, num_steps=config.inner.num_steps)
        entries.append(OptimizerEntry(*contestant[:4], judged.train_seconds, judged.train_bytes))
    rivals = [contestant.name for contestant in contestants[1:]]
    comparisons = compare(rows, learned=contestants[0].name, rivals=rivals)
    summary = Summary(
        experiment=config.experiment,
        preset=comparison.preset,
        meta_training=comparison.meta_training,
        optimizers=entries,
        comparisons=comparisons,
        held_out_improved=held_out_improved(comparisons, rows),
        provenance=collect_provenance(
            device=device_words(),
            seeds={"meta": [seed], "inner": list(range(config.evaluation.num_seeds))},
            arguments=sys.argv,
            config=as_dict(config),
        ),
    )
    write_results(folder / "results.csv", rows)
    write_curves(folder / "curves.csv", curves)
    write_summary(folder / "summary.json", summary)
    write_report(folder)
    console.print(accuracy_text(rows), soft_wrap=True)
    return summary


def _judge(
    contestant: Contestant,
    config: Config,
    problem: Problem,
    sets: Sequence[TestSet],
    keys: Key[Array, " seeds"],
) -> Judged:
    return judge(
        contestant.task,
        problem.model,
        contestant.recipe,
        problem.data,
        sets,
        keys,
        num_steps=config.inner.num_steps,
        num_classes=problem.dataset.num_classes,
    )


def _rows(
    contestant: Contestant,
    judged: Judged,
    config: Config,
    problem: Problem,
    sets: Sequence[TestSet],
    seed: int,
) -> list[ResultRow]:
    return result_rows(
        contestant,
        judged,
        sets,
        experiment=config.experiment,
        dataset=problem.dataset.name,
        model=config.model.name,
        meta_seed=seed,
        num_steps=config.inner.num_steps,
    )


def device_words() -> str:
    """What JAX computes on, in words."""
    devices = jax.devices()
    return f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform})"

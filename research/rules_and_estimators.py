"""Every learned rule and every gradient estimator on one problem, at equal inner steps.

The problem is that of the preset `gaussian-digits-mlp`. All rules are meta-trained by NRES, and
`structured` by every estimator: full-length and truncated, by evolution strategies, by
backpropagation, by their mixture, and by evolution strategies without antithetic pairs. Each entry
takes as many inner steps, a fifth of the preset's, in as many outer steps as that gives; rates
are such that they sum to the same over outer steps. Written down for every seed: the least loss on
`select`, accuracy on `select` with noise of scale 0.5 and clean (20 classifiers), the mean
signal-to-noise ratio, and the processor's seconds.

    python research/rules_and_estimators.py --out results/rules-and-estimators.json

What the file holds already is not made again. `--only NAME` makes one entry; `--list` names them;
`--table` prints what the file holds.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from noiseproof import inner_loop
from noiseproof.evaluate.protocol import grade
from noiseproof.experiment.build import Experiment, build_experiment
from noiseproof.experiment.reading import load_preset
from noiseproof.files import write_whole
from noiseproof.metatrain import ESTIMATORS, Objective, Plan, recipe_of
from noiseproof.metatrain.outer_loop import OuterState, meta_train
from noiseproof.results import MetricsLine
from noiseproof.types import Data, GradientEstimator, Theta
from one_sided import one_sided

NUM_INNER_STEPS = 160_000
"""Of one meta-training; the preset takes 800,000."""

RATE_SUM = 0.75
"""Sum of the outer learning rates before their schedule: the preset's is 1.5, over five times the
steps."""

NUM_SEEDS = 3

BUILDERS: dict[str, Callable[..., GradientEstimator]] = {**ESTIMATORS, "one_sided": one_sided}

PAIRS = {"truncation": 50, "num_pairs": 16}
"""The preset's; 32 runs at work in one outer step, of 50 inner steps each."""

# Rules that are networks take smaller perturbations, as `docs/experiments.md` found for them.
NETWORK_STD, STRUCTURED_STD = 0.03, 0.05


class Entry(NamedTuple):
    """A rule, an estimator and its options."""

    rule: str
    estimator: str
    options: dict[str, Any]


ENTRIES = {
    **{
        f"{rule} by nres": Entry(rule, "nres", {**PAIRS, "std": NETWORK_STD})
        for rule in ("nominal_mlp", "mlp", "adafac_mlp")
    },
    **{
        f"structured by {name}": Entry("structured", name, {**PAIRS, "std": STRUCTURED_STD})
        for name in ("nres", "pes", "tes", "mixed")
    },
    "structured by truncated_backprop": Entry(
        "structured", "truncated_backprop", {"truncation": 50, "num_runs": 32}
    ),
    # Whole runs of 500 steps: fewer of them, so that there are 40 outer steps.
    "structured by es": Entry("structured", "es", {"num_pairs": 4, "std": STRUCTURED_STD}),
    "structured by full_backprop": Entry("structured", "full_backprop", {"num_runs": 8}),
    "structured by nres, not antithetic": Entry(
        "structured", "one_sided", {"truncation": 50, "num_runs": 32, "std": STRUCTURED_STD}
    ),
    "structured by es, not antithetic": Entry(
        "structured", "one_sided", {"truncation": 500, "num_runs": 8, "std": STRUCTURED_STD}
    ),
}


def build(entry: Entry, num_inner_steps: int) -> tuple[Experiment, GradientEstimator, Plan]:
    """The problem with the entry's rule, its estimator, and as many outer steps as it may take."""
    settings = [
        f"rule.kind={entry.rule}",
        "conditions.strengths=[0.5]",
        "evaluation.split=select",
        "evaluation.num_seeds=20",
    ]
    experiment = build_experiment(load_preset("gaussian-digits-mlp", settings))
    estimator = BUILDERS[entry.estimator](experiment.meta.objectives[0], **entry.options)
    num_outer_steps = max(num_inner_steps // estimator.num_inner_steps, 1)
    plan = experiment.plan._replace(
        num_outer_steps=num_outer_steps,
        learning_rate=RATE_SUM / num_outer_steps,
        select_every=max(num_outer_steps // 5, 1),
    )
    return experiment, estimator, plan


def meta_trained(
    experiment: Experiment, estimator: GradientEstimator, plan: Plan, seed: int
) -> tuple[OuterState, list[MetricsLine]]:
    """Meta-trains under a seed; the end, and what every outer step said."""
    meta, lines = experiment.meta, []
    key = jax.random.key(seed)
    state = meta_train(
        meta.target, estimator, plan, meta.data, meta.select_data, key, on_metrics=lines.append
    )
    return state, lines


def classifiers(experiment: Experiment) -> Callable[..., inner_loop.Run]:
    """`(theta, data, keys) -> runs`: theta is an argument, so that one program serves all."""
    objective: Objective = experiment.problem.objective

    @jax.jit
    def train(theta: Theta, data: Data, keys: Key[Array, " seeds"]) -> inner_loop.Run:
        task, recipe, num_steps = objective.task, recipe_of(objective, theta), objective.num_steps
        one_run = partial(inner_loop.train, task, recipe, data, num_steps)
        return inner_loop.over_runs(one_run, in_turn=objective.placement.in_turn)(keys)

    return train


def accuracies(experiment: Experiment, theta: Theta, seed: int) -> dict[str, float]:
    """Of classifiers trained by a theta, on images of `select`; a diverged one is at chance."""
    problem = experiment.problem
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), experiment.num_seeds)
    runs = classifiers(experiment)(theta, problem.data, keys)
    chance = 1.0 / problem.dataset.num_classes
    found = {}
    for test_set in experiment.conditions.test_sets(experiment.split):
        accuracy = grade(problem.model, runs.params, test_set.batch).accuracy
        label = "clean" if test_set.role == "clean" else f"noise {test_set.strength:g}"
        found[label] = float(np.where(runs.diverged, chance, accuracy).mean())
    return found


def outcome(
    entry: Entry, experiment: Experiment, estimator: GradientEstimator, plan: Plan, seed: int
) -> dict[str, Any]:
    """What an entry reaches under a seed."""
    start = time.process_time()
    state, lines = meta_trained(experiment, estimator, plan, seed)
    processor_seconds = time.process_time() - start
    scores = [line.select_loss for line in lines if line.select_loss is not None]
    unflatten = experiment.meta.unflatten
    steps = np.diff([line.seconds for line in lines])
    return {
        "rule": entry.rule,
        "estimator": entry.estimator,
        "options": entry.options,
        "learning_rate": plan.learning_rate,
        "outer_steps": plan.num_outer_steps,
        "inner_steps": lines[-1].inner_steps,
        "select_loss": min(scores),
        "last_select_loss": scores[-1],
        "select_accuracy": accuracies(experiment, unflatten(state.best_theta), seed),
        "initial_select_accuracy": accuracies(experiment, unflatten(state.initial_theta), seed),
        "signal_to_noise": float(np.nanmean([line.snr for line in lines if line.snr is not None])),
        "diverged_share": statistics.fmean(
            line.diverged_share for line in lines if line.diverged_share is not None
        ),
        "seconds": lines[-1].seconds,
        "processor_seconds": processor_seconds,
        "outer_step_seconds": float(np.median(steps)) if len(steps) else lines[-1].seconds,
    }


COLUMNS: dict[str, tuple[Callable[[dict[str, Any]], float], str]] = {
    "loss on `select`": (lambda one: one["select_loss"], ".3f"),
    "noise 0.5": (lambda one: 100 * one["select_accuracy"]["noise 0.5"], ".1f"),
    "clean": (lambda one: 100 * one["select_accuracy"]["clean"], ".1f"),
    "signal to noise": (lambda one: one["signal_to_noise"], ".2f"),
    "CPU seconds": (lambda one: one["processor_seconds"], ".0f"),
}
"""What the table shows of a seed's outcome, and how."""


def table(entries: dict[str, dict[str, Any]]) -> str:
    """A row for every entry: means over seeds, with the least and the greatest."""
    rows = [("rule and estimator", "seeds", *COLUMNS), ("---",) * (2 + len(COLUMNS))]
    for name, seeds in entries.items():
        cells = []
        for read, form in COLUMNS.values():
            values = [read(one) for one in seeds.values()]
            ends = f"{min(values):{form}} to {max(values):{form}}"
            cells.append(f"{statistics.fmean(values):{form}} ({ends})")
        rows.append((name, str(len(seeds)), *cells))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Every rule and every estimator on one problem.")
    parser.add_argument("--out", type=Path, help="the record, which is gone on with")
    parser.add_argument("--only", action="append", choices=ENTRIES, help="default: all")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS)
    parser.add_argument("--inner-steps", type=int, default=NUM_INNER_STEPS)
    parser.add_argument("--list", action="store_true", help="names the entries")
    parser.add_argument("--table", action="store_true", help="prints what the record holds")
    options = parser.parse_args()
    if options.list or options.out is None:
        print("\n".join(ENTRIES))
        return
    record: dict[str, Any] = {"inner_steps": options.inner_steps, "entries": {}}
    if options.out.is_file():
        record = json.loads(options.out.read_text("utf-8"))
        if record["inner_steps"] != options.inner_steps:
            parser.error(f"{options.out} is of {record['inner_steps']} inner steps.")
    if options.table:
        print(table(record["entries"]))
        return
    # The second seed compiles nothing.
    with tempfile.TemporaryDirectory() as compiled:
        jax.config.update("jax_compilation_cache_dir", compiled)
        for name in options.only or ENTRIES:
            seeds = record["entries"].setdefault(name, {})
            missing = [seed for seed in range(options.seeds) if str(seed) not in seeds]
            if not missing:
                continue
            parts = build(ENTRIES[name], options.inner_steps)
            for seed in missing:
                seeds[str(seed)] = found = outcome(ENTRIES[name], *parts, seed)
                write_whole(options.out, json.dumps(record, indent=1) + "\n")
                print(
                    f"{name}, seed {seed}: select loss {found['select_loss']:.4f}, "
                    f"accuracy {found['select_accuracy']}, snr {found['signal_to_noise']:.2f}, "
                    f"{found['seconds']:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()

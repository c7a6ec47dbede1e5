"""What a corruption asks of an optimizer: theta meta-trained on each family of corruptions alone.

A cell is a family and a meta-seed: `structured` is meta-trained from its start on that family's
named corruptions at random severities, a quarter of the images clean, on the data and classifier
of a preset, by backpropagation through whole runs. Then classifiers are trained with it and tested
on every family, on `select`. All cells of a meta-seed share draws, so that thetas differ by the
family alone; the cell `clean` is the control. One file a cell holds the rates at their knots and
the matrix' row.

    python research/families_matrix.py --data-dir data --out results/families-matrix
    python docs/draw_families.py --table

A cell that is there is not made again, and one that was interrupted goes on from its checkpoint.
`--only blur --seeds 1` makes some; `--outer-steps` and `--set` make them shorter.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from noiseproof.corruptions.families import FAMILIES, for_channels
from noiseproof.corruptions.keys import name_key
from noiseproof.data import image_shape
from noiseproof.evaluate.protocol import judge
from noiseproof.evaluate.suites import TestSet, clean_set, corrupted, few
from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.meta_problem import build_estimator
from noiseproof.experiment.problem import Problem, objective_of
from noiseproof.experiment.reading import load_preset
from noiseproof.experiment.settings import Settings
from noiseproof.files import write_whole
from noiseproof.metatrain import Plan, flattened, recipe_of, target_of
from noiseproof.metatrain.outer_loop import meta_train
from noiseproof.studies.rule import explain
from noiseproof.tasks.outer_losses import (
    OuterLoss,
    clean_images,
    named_corruptions,
    random_severity,
)

CLEAN = "clean"
ROWS = (*FAMILIES, CLEAN)
NUM_CLASSIFIERS, NUM_IMAGES, TEST_SEED = 10, 2000, 0

META_TRAINING = (
    "estimator.kind=full_backprop",
    "estimator.num_runs=1",
    "estimator.max_norm=1.0",
    "meta.learning_rate=1e-2",
)
"""In 60 outer steps `select` falls further than NRES takes it in 160."""


def outer_loss(family: str, num_channels: int) -> OuterLoss:
    """The named corruptions of one family, or clean images."""
    if family == CLEAN:
        return clean_images()
    return named_corruptions(*for_channels(FAMILIES[family], num_channels))


def test_sets(problem: Problem) -> list[TestSet]:
    """Images of `select`, clean and under every corruption, each image at a severity of its own."""
    split, num_channels = few(problem.dataset.select, NUM_IMAGES), image_shape(problem.dataset)[2]
    sets = [clean_set(split)]
    for family, names in FAMILIES.items():
        for name in for_channels(names, num_channels):
            key = name_key(name, jax.random.key(TEST_SEED))
            images = corrupted(split, random_severity(name), key)
            sets.append(TestSet(name, family, None, None, "kin", images))
    return sets


def cell(
    settings: Settings, problem: Problem, sets: Sequence[TestSet], family: str, seed: int, out: Path
) -> dict[str, Any]:
    """Meta-trains on a family, and tests on all of them."""
    began = time.perf_counter()
    loss = outer_loss(family, image_shape(problem.dataset)[2])
    own = objective_of(settings, problem.dataset, problem.model, loss)
    objective, unflatten = flattened(own)
    built = build_estimator(settings, objective)
    plan = Plan(**{name: getattr(settings.meta, name) for name in Plan._fields})
    key = jax.random.fold_in(jax.random.key(seed), 0)
    folder = out / f"{family}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    data = problem.data, problem.select_data
    state = meta_train(target_of(objective), built, plan, *data, key, folder=folder, resume=True)
    trained = time.perf_counter()
    theta = unflatten(state.best_theta)
    judged = judge(
        own.task,
        problem.model,
        recipe_of(own, theta),
        problem.data,
        sets,
        jax.random.split(jax.random.fold_in(key, 1), settings.evaluation.num_seeds),
        num_steps=own.num_steps,
        num_classes=problem.dataset.num_classes,
        placement=own.placement,
    )
    families = np.array([one.family if one.role != "clean" else CLEAN for one in sets])
    explained = explain(theta)
    return {
        "family": family,
        "seed": seed,
        "outer_steps": plan.num_outer_steps,
        "rates": {group: explained.at_knots(group)[0].tolist() for group in explained.curves},
        "accuracy": {
            name: judged.accuracy[:, families == name].mean(axis=1).tolist() for name in ROWS
        },
        "meta_training_seconds": trained - began,
        "test_seconds": time.perf_counter() - trained,
    }


def rounded(value: Any) -> Any:
    """All numbers of JSON to six digits."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="spectral-fashion-mlp")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", choices=ROWS, action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outer-steps", type=int, default=60)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    sizes = [
        f"evaluation.num_seeds={NUM_CLASSIFIERS}",
        f"meta.num_outer_steps={options.outer_steps}",
        "meta.select_every=10",
        *META_TRAINING,
    ]
    settings = load_preset(options.preset, [*sizes, *options.settings])
    problem = build_experiment(settings, options.data_dir).problem
    sets = test_sets(problem)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        for family in options.only or ROWS:
            path = options.out / f"{family}-{seed}.json"
            if not path.exists():
                found = cell(settings, problem, sets, family, seed, options.out)
                write_whole(path, json.dumps(rounded(found)) + "\n")
                seconds = found["meta_training_seconds"], found["test_seconds"]
                print(f"{path.name}: {seconds[0]:.0f} s meta-training, {seconds[1]:.0f} s testing")


if __name__ == "__main__":
    main()

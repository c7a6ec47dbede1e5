"""Training one classifier with a learned optimizer, tested clean and corrupted."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from safetensors.numpy import save

from noiseproof import inner_loop
from noiseproof.evaluate.protocol import grade
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.conditions import test_sets
from noiseproof.experiment.problem import build_problem
from noiseproof.experiment.settings import Config, as_dict
from noiseproof.metatrain.antithetic import recipe_of
from noiseproof.models.standardized import channel_statistics
from noiseproof.types import Data, Params
from noiseproof.zoo import load_learned


def train(
    config: Config,
    optimizer: str,
    path: Path,
    console: Console,
    *,
    seed: int,
    data_dir: Path | None = None,
) -> dict[str, float]:
    """Trains a classifier, prints its accuracies and writes its weights.

    Args:
        config: Data set, classifier and run; its rule gives way to the optimizer's.
        optimizer: A learned optimizer, as `noiseproof.load` takes it.
        path: Where the weights go, as safetensors, with the settings in the file's metadata.
        console: Where the accuracies are printed.
        seed: Fixes initial weights and batches.
        data_dir: Folder of the data sets.

    Returns:
        Accuracy by condition.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    if path.exists():
        raise ValueError(f"The file {path} exists already: choose another with --out.")
    loaded = load_learned(optimizer)
    problem = build_problem(config, data_dir)
    objective = problem.objective._replace(learned=loaded.learned)
    recipe = recipe_of(objective, loaded.theta)

    @jax.jit
    def run(data: Data, key: jax.Array) -> inner_loop.Run:
        return inner_loop.train(objective.task, recipe, data, objective.num_steps, key)

    console.print(f"training {objective.num_steps} steps on {problem.dataset.name}")
    finished = run(problem.data, jax.random.key(seed))
    if finished.diverged:
        raise ValueError(f"Training with {optimizer} diverged; nothing was written.")
    sets = test_sets(config, problem)
    stacked = jax.tree.map(lambda leaf: leaf[None], finished.params)
    accuracies = {
        condition_label(test_set): float(grade(problem.model, stacked, test_set.batch).accuracy[0])
        for test_set in sets
    }
    metadata: dict[str, Any] = {"config": as_dict(config), "seed": seed}
    if config.data.standardize:
        statistics = channel_statistics(jnp.asarray(problem.dataset.train.images))
        metadata |= {name: s.tolist() for name, s in zip(("mean", "std"), statistics, strict=True)}
    write_weights(path, finished.params, metadata)
    for label, accuracy in accuracies.items():
        console.print(f"{label:24s} {accuracy:.4f}")
    num_images = len(sets[0].batch.labels)
    console.print(f"accuracy of one classifier on {num_images:,} test images; weights in {path}")
    return accuracies


def condition_label(test_set: TestSet) -> str:
    """A test condition in words."""
    if test_set.role == "clean":
        return "clean"
    size = test_set.strength if test_set.severity is None else test_set.severity
    return test_set.corruption if size is None else f"{test_set.corruption} {size:g}"


def write_weights(path: Path, params: Params, metadata: dict[str, Any]) -> None:
    """Writes a classifier's weights whole or not at all, named by their place such as 0/weight."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    arrays = {
        jax.tree_util.keystr(place, simple=True, separator="/"): np.asarray(leaf)
        for place, leaf in leaves
    }
    content = save(arrays, {name: json.dumps(value) for name, value in metadata.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)

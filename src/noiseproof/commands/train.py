"""Training one classifier with a learned optimizer, tested clean and corrupted."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from safetensors.numpy import save

from noiseproof import inner_loop
from noiseproof.commands.notices import tell_notices
from noiseproof.evaluate.protocol import grade
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.build import Experiment, build_experiment
from noiseproof.experiment.meta_trained import settings_of
from noiseproof.experiment.reading import with_settings
from noiseproof.experiment.settings import as_dict
from noiseproof.files import create_whole
from noiseproof.metatrain import recipe_of
from noiseproof.models.standardized import channel_statistics
from noiseproof.types import Data, Params
from noiseproof.zoo import load_learned


def train(
    optimizer: str,
    settings: Sequence[str],
    path: Path,
    console: Console,
    *,
    seed: int,
    data_dir: Path | None = None,
) -> dict[str, float]:
    """Trains a classifier, prints its accuracies and writes its weights.

    Args:
        optimizer: A learned optimizer, as `noiseproof.load` takes it.
        settings: `section.key=value` over the settings that it was meta-trained with.
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
    values = {**as_dict(settings_of(loaded, optimizer)), "controls": [], "tasks": []}
    experiment = build_experiment(with_settings(values, settings, "settings"), data_dir)
    tell_notices(experiment.problem.dataset)
    params = trained(experiment, loaded.theta, seed, console)
    sets = experiment.conditions.test_sets(experiment.split)
    model = experiment.problem.model
    stacked = jax.tree.map(lambda leaf: leaf[None], params)
    accuracies = {
        condition_label(test_set): float(grade(model, stacked, test_set.batch).accuracy[0])
        for test_set in sets
    }
    write_weights(path, params, metadata(experiment, seed))
    for label, accuracy in accuracies.items():
        console.print(f"{label:24s} {accuracy:.4f}")
    num_images = len(sets[0].batch.labels)
    console.print(f"accuracy of one classifier on {num_images:,} test images; weights in {path}")
    return accuracies


def trained(experiment: Experiment, theta: Any, seed: int, console: Console) -> Params:
    """The weights of a classifier after its run.

    Raises:
        ValueError: The run diverged.
    """
    objective, problem = experiment.problem.objective, experiment.problem
    recipe = recipe_of(objective, theta)

    @jax.jit
    def run(data: Data, key: jax.Array) -> inner_loop.Run:
        return inner_loop.train(objective.task, recipe, data, objective.num_steps, key)

    console.print(f"training {objective.num_steps} steps on {problem.dataset.name}")
    finished = run(problem.data, jax.random.key(seed))
    if finished.diverged:
        raise ValueError("The training diverged; nothing was written.")
    return finished.params


def condition_label(test_set: TestSet) -> str:
    """A test condition in words."""
    if test_set.role == "clean":
        return "clean"
    size = test_set.strength if test_set.severity is None else test_set.severity
    return test_set.corruption if size is None else f"{test_set.corruption} {size:g}"


def metadata(experiment: Experiment, seed: int) -> dict[str, Any]:
    """What stands beside the weights: the settings, and how images are standardized."""
    found: dict[str, Any] = {"config": experiment.record, "seed": seed}
    if experiment.record["data"]["standardize"]:
        images = jnp.asarray(experiment.problem.dataset.train.images)
        statistics = channel_statistics(images)
        found |= {name: s.tolist() for name, s in zip(("mean", "std"), statistics, strict=True)}
    return found


def write_weights(path: Path, params: Params, about: dict[str, Any]) -> None:
    """Writes a classifier's weights whole or not at all, named by their place such as 0/weight."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    arrays = {
        jax.tree_util.keystr(place, simple=True, separator="/"): np.asarray(leaf)
        for place, leaf in leaves
    }
    content = save(arrays, {name: json.dumps(value) for name, value in about.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    create_whole(path, content)

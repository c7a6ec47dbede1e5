"""One classifier, trained with a learned optimizer, tested clean and corrupted, and kept."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save

from noiseproof import inner_loop
from noiseproof.evaluate.protocol import grade
from noiseproof.evaluate.suites import TestSet
from noiseproof.experiment.build import Experiment
from noiseproof.files import create_whole
from noiseproof.metatrain import recipe_of
from noiseproof.models.standardized import channel_statistics
from noiseproof.types import Data, Params


def trained(experiment: Experiment, theta: Any, seed: int) -> Params:
    """The weights of a classifier after its run.

    Raises:
        ValueError: The run diverged.
    """
    objective, problem = experiment.problem.objective, experiment.problem
    recipe = recipe_of(objective, theta)

    @jax.jit
    def run(data: Data, key: jax.Array) -> inner_loop.Run:
        return inner_loop.train(objective.task, recipe, data, objective.num_steps, key)

    finished = run(problem.data, jax.random.key(seed))
    if finished.diverged:
        raise ValueError("The training diverged; nothing was written.")
    return finished.params


def accuracies(experiment: Experiment, params: Params) -> dict[str, float]:
    """Accuracy of a classifier, 0 to 1, by condition in words."""
    stacked = jax.tree.map(lambda leaf: leaf[None], params)
    return {
        condition_label(test_set): float(
            grade(experiment.problem.model, stacked, test_set.batch).accuracy[0]
        )
        for test_set in experiment.conditions.test_sets(experiment.split)
    }


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

"""One classifier, trained with a learned optimizer, tested clean and corrupted, and kept."""

import json
from functools import partial
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
from noiseproof.experiment.progress import SILENT, Progress, corrupting
from noiseproof.files import create_whole
from noiseproof.metatrain import recipe_of
from noiseproof.models.standardized import channel_statistics
from noiseproof.types import Params

NUM_STRETCHES = 10
"""A run is trained in so many stretches of one program, to say in between how far it is."""


def trained(
    experiment: Experiment, theta: Any, progress: Progress = SILENT, *, seed: int
) -> Params:
    """The weights of a classifier after its run.

    Raises:
        ValueError: The run diverged.
    """
    objective, data = experiment.problem.objective, experiment.problem.data
    key = jax.random.key(seed)
    task, recipe, num_steps = objective.task, recipe_of(objective, theta), objective.num_steps
    advance = jax.jit(partial(inner_loop.advance, task, recipe), static_argnums=2)
    state, done = jax.jit(partial(inner_loop.init, task, recipe))(key), 0
    while done < num_steps:
        progress.part("training", "steps", done, num_steps)
        stretch = min(-(-num_steps // NUM_STRETCHES), num_steps - done)
        state, losses = advance(state, data, stretch, key)
        if not jnp.isfinite(losses).all():
            raise ValueError("The training diverged; nothing was written.")
        done += stretch
    progress.part("training", "steps", num_steps, num_steps)
    params = recipe.answer(state.params, state.optimizer_state)
    return params if task.finish is None else jax.jit(task.finish)(params, data, key)


def accuracies(
    experiment: Experiment, params: Params, progress: Progress = SILENT
) -> dict[str, float]:
    """Accuracy of a classifier, 0 to 1, by condition in words."""
    stacked = jax.tree.map(lambda leaf: leaf[None], params)
    return {
        condition_label(test_set): float(
            grade(experiment.problem.model, stacked, test_set.batch).accuracy[0]
        )
        for test_set in experiment.conditions.test_sets(experiment.split, corrupting(progress))
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
    create_whole(path, content)

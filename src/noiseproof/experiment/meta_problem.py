"""What meta-training runs on: the settings' own problem, or several that are laid over it.

Each of several tasks lays its data, classifier and inner runs over the settings' own; the learned
optimizer, the outer loss and the estimator are the same for all. What is judged in the end is the
settings' own problem, which is meta-trained on only where it is a task itself.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec

from noiseproof.experiment.choices import built, kind_of
from noiseproof.experiment.mean_start import mean_start
from noiseproof.experiment.problem import Problem, build_problem
from noiseproof.experiment.reading import lay_over, with_settings
from noiseproof.experiment.settings import Settings, TaskOverlay, as_dict
from noiseproof.metatrain import (
    ESTIMATORS,
    RUN_LENGTHS,
    Objective,
    flattened,
    joint,
    reparametrized,
    target_of,
)
from noiseproof.metatrain.memory import on_devices
from noiseproof.metatrain.sharding import pairs_mesh
from noiseproof.metatrain.target import Target
from noiseproof.optimizers.groups import as_matrix
from noiseproof.types import Data, GradientEstimator, Theta


class MetaProblem(NamedTuple):
    """What the outer loop takes.

    Attributes:
        objectives: Of every task, of a theta that is one vector.
        target: What is minimized, and how `select` scores a theta.
        estimator: Of the meta-gradient.
        data: The tasks' data with the outer split; of several tasks a tuple.
        select_data: The same with the select split in its place.
        unflatten: Makes the learned rule's own theta of that vector.
    """

    objectives: tuple[Objective, ...]
    target: Target
    estimator: GradientEstimator
    data: Data
    select_data: Data
    unflatten: Callable[[Theta], Theta]


def build_meta_problem(settings: Settings, problem: Problem, data_dir: Path | None) -> MetaProblem:
    """The settings' own problem, or those of its tasks.

    Args:
        settings: The settings.
        problem: Their own problem.
        data_dir: Folder of the data sets.

    Raises:
        ValueError: Whatever is wrong in the settings or with the data, in one line.
    """
    mesh, meta = pairs_mesh(num_particles(settings.estimator)), settings.meta
    overlaid = [with_task(settings, task) for task in settings.tasks]
    problems = [build_problem(one, data_dir) for one in overlaid] or [problem]
    fresh = problem.objective.learned.init(jax.random.key(0))
    start = mean_start(meta.start, kind_of(settings.rule), fresh) if meta.start else None
    directions = as_matrix(fresh) if meta.grouped else None
    rows = [flattened(on_devices(one.objective, mesh), start, directions) for one in problems]
    objectives, unflatten = tuple(objective for objective, _ in rows), rows[0][1]
    if not settings.tasks:
        if meta.tasks_at_once:
            raise ValueError("meta.tasks_at_once is of several tasks, and there are none.")
        target, estimator = target_of(objectives[0]), build_estimator(settings, objectives[0])
        data, select_data = problem.data, problem.select_data
        return MetaProblem(objectives, target, estimator, data, select_data, unflatten)
    # Tasks on one data set share its arrays.
    shared = {settings.data: problem}
    sources = [shared.setdefault(s.data, p) for s, p in zip(overlaid, problems, strict=True)]
    weights = [
        chance_weight(task.weight, one.dataset.num_classes)
        for task, one in zip(settings.tasks, problems, strict=True)
    ]
    estimators = [build_estimator(settings, objective) for objective in objectives]
    target, estimator = joint(objectives, estimators, weights=weights, at_once=meta.tasks_at_once)
    return MetaProblem(
        objectives,
        target,
        estimator,
        tuple(one.data for one in sources),
        tuple(one.select_data for one in sources),
        unflatten,
    )


def build_estimator(settings: Settings, objective: Objective) -> GradientEstimator:
    """The gradient estimator, of runs whose lengths are drawn and whose weights are scaled."""
    run_length = built(RUN_LENGTHS, settings.run_length, num_steps=objective.num_steps)
    objective = objective._replace(run_length=run_length)
    if settings.reparametrization.level != "none":
        objective = reparametrized(objective, **msgspec.structs.asdict(settings.reparametrization))
    return built(ESTIMATORS, settings.estimator, objective=objective)


def num_particles(estimator: Any) -> int:
    """The antithetic pairs of an estimator's section, or its runs where it has no pairs."""
    has_pairs = hasattr(estimator, "num_pairs")
    return estimator.num_pairs if has_pairs else estimator.num_runs


def chance_weight(weight: float, num_classes: int) -> float:
    """A task's weight over the loss of guessing, so that more classes do not count for more."""
    return weight / math.log(num_classes)


def with_task(settings: Settings, task: TaskOverlay) -> Settings:
    """Settings with a task's sections laid over them.

    Another data set or classifier takes none of the settings' options for their own.

    Raises:
        ValueError: An unknown key, or a value of the wrong type.
    """
    values = {**as_dict(settings), "tasks": []}
    for name, above in (("data", task.data), ("model", task.model), ("inner", task.inner)):
        naming = "kind" if name == "model" else "name"
        if above.get(naming, values[name].get(naming)) != values[name].get(naming):
            values[name] = {}
        lay_over(values[name], above)
    return with_settings(values, [], "tasks")

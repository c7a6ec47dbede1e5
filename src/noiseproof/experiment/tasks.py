"""What meta-training runs on: the preset's own problem, or several that are laid over it.

Each of several tasks lays its data, classifier and inner runs over the preset's; the learned
optimizer, the outer loss and the estimator are the preset's for all. What is judged in the end is
the preset's own problem, which is meta-trained on only where it is a task itself.
"""

import copy
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from noiseproof.experiment.problem import Problem, build_estimator, build_problem
from noiseproof.experiment.settings import Config, TaskConfig, as_dict, build, lay_over
from noiseproof.metatrain import Objective, flattened, joint_estimator, joint_objective
from noiseproof.types import Data, GradientEstimator, Theta


class MetaProblem(NamedTuple):
    """What the outer loop takes.

    Attributes:
        objective: What `select` scores, of a theta that is one vector.
        estimator: Of the meta-gradient.
        data: The tasks' data with the outer split; of several tasks a tuple.
        select_data: The same with the select split in its place.
        unflatten: Makes the learned rule's own theta of that vector.
    """

    objective: Objective
    estimator: GradientEstimator
    data: Data
    select_data: Data
    unflatten: Callable[[Theta], Theta]


def build_meta_problem(config: Config, problem: Problem, data_dir: Path | None) -> MetaProblem:
    """The preset's own problem, or those of its tasks.

    Args:
        config: The settings.
        problem: The preset's own; tasks are spread over the same devices.
        data_dir: Folder of the data sets.

    Raises:
        ValueError: Whatever is wrong in the config or with the data, in one line.
    """
    if not config.tasks:
        objective, unflatten = flattened(problem.objective)
        estimator = build_estimator(config, objective)
        return MetaProblem(objective, estimator, problem.data, problem.select_data, unflatten)
    configs = [task_config(config, task) for task in config.tasks]
    problems = [build_problem(one, data_dir) for one in configs]
    # Tasks on one data set share its arrays.
    shared = {config.data: problem}
    sources = [shared.setdefault(c.data, p) for c, p in zip(configs, problems, strict=True)]
    mesh = problem.objective.mesh
    rows = [flattened(one.objective._replace(mesh=mesh)) for one in problems]
    objectives = [objective for objective, _ in rows]
    weights = [
        chance_weight(task.weight, one.dataset.num_classes)
        for task, one in zip(config.tasks, problems, strict=True)
    ]
    estimators = [build_estimator(config, objective) for objective in objectives]
    return MetaProblem(
        joint_objective(objectives, weights=weights),
        joint_estimator(estimators, weights=weights),
        tuple(one.data for one in sources),
        tuple(one.select_data for one in sources),
        rows[0][1],
    )


def chance_weight(weight: float, num_classes: int) -> float:
    """A task's weight over the loss of guessing, so that more classes do not count for more."""
    return weight / math.log(num_classes)


def task_config(config: Config, task: TaskConfig) -> Config:
    """A config with a task's sections laid over its own.

    Another data set or classifier takes none of the preset's options for its own.

    Raises:
        ValueError: An unknown key, or a value of the wrong type.
    """
    sections: dict[str, Any] = {}
    for name in ("data", "model", "inner"):
        below, above = as_dict(config)[name], getattr(task, name)
        renamed = above.get("name", below.get("name")) != below.get("name")
        values = {} if renamed else copy.deepcopy(below)
        lay_over(values, above)
        kind = type(getattr(config, name))
        sections[name] = build(kind, values, f"tasks.{name}")
    return dataclasses.replace(config, **sections, tasks=())

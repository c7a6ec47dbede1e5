"""What the outer loop minimizes, and how `select` scores a theta."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray, Scalar

from noiseproof import inner_loop
from noiseproof.metatrain.objective import Objective, recipe_of
from noiseproof.metatrain.sharding import over_runs
from noiseproof.types import Data, Theta


class Target(NamedTuple):
    """What the outer loop minimizes: the loss of one objective, or the mean of several.

    Attributes:
        init: `key -> theta`, before the first outer step.
        refresh: `(data, key) -> data`, with a fresh pool of outer images.
        score: `(theta, data, num_runs, key) -> loss` of so many runs, in nats, of data with a pool.
        mesh: The devices over which runs are spread; None for one.
    """

    init: Callable[[PRNGKeyArray], Theta]
    refresh: Callable[[Data, PRNGKeyArray], Data]
    score: Callable[[Theta, Data, int, PRNGKeyArray], Scalar]
    mesh: Mesh | None = None


def target_of(objective: Objective) -> Target:
    """The loss of one objective over its window, a mean of runs; infinite if one diverged."""

    def one_run(shared: tuple[Theta, Data], key: PRNGKeyArray) -> Scalar:
        theta, data = shared
        task, recipe = objective.task, recipe_of(objective, theta)
        num_steps, window = objective.num_steps, objective.window
        return inner_loop.score(task, recipe, data, num_steps, key, window=window)

    def score(theta: Theta, data: Data, num_runs: int, key: PRNGKeyArray) -> Scalar:
        all_runs = over_runs(one_run, num_runs, objective.placement)
        return all_runs((theta, data), jax.random.split(key, num_runs)).mean()

    mesh = objective.placement.mesh
    return Target(objective.learned.init, objective.task.refresh, score, mesh)

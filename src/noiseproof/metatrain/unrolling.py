"""Runs of an objective under some theta: begun, and taken some steps on."""

from collections.abc import Callable

from jaxtyping import PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.inner_loop import InnerState, Losses
from noiseproof.metatrain.objective import Objective, recipe_of
from noiseproof.types import Data, Theta


def start_run(objective: Objective, theta: Theta, run_key: PRNGKeyArray) -> InnerState:
    """A fresh run."""
    return inner_loop.init(objective.task, recipe_of(objective, theta), run_key)


def unroll(
    objective: Objective,
    theta: Theta,
    state: InnerState,
    data: Data,
    num_steps: int,
    run_key: PRNGKeyArray,
    *,
    passed_on: Callable[[InnerState], InnerState] = lambda state: state,
) -> tuple[InnerState, Losses]:
    """Goes `num_steps` on; the mean weighted loss of a whole run is that over its window."""
    return inner_loop.unroll(
        objective.task,
        recipe_of(objective, theta),
        state,
        data,
        num_steps,
        run_key,
        window=objective.window,
        run_length=objective.num_steps,
        passed_on=passed_on,
    )

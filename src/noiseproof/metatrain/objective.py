"""What a learned optimizer is meta-trained on: a problem, what of a run counts, where it runs."""

from typing import NamedTuple

from jaxtyping import Array, Int

from noiseproof.inner_loop import Window, check_window
from noiseproof.metatrain.run_lengths import RunLength
from noiseproof.metatrain.sharding import Placement
from noiseproof.types import Layout, LearnedOptimizer, Recipe, Task, Theta


class Objective(NamedTuple):
    """What a learned optimizer is meta-trained on.

    Attributes:
        task: The inner problem.
        learned: The family of optimizers.
        layout: The roles of the classifier's tensors.
        num_steps: Length of an inner run.
        run_length: Draws the length of a meta-training run, of at most `num_steps`; None where
            all have that length.
        window: Which meta-losses of a run count.
        placement: Where runs are computed; it changes no result, save for the order of sums.
    """

    task: Task
    learned: LearnedOptimizer
    layout: Layout
    num_steps: int
    run_length: RunLength = None
    window: Window = Window()
    placement: Placement = Placement()


def check_objective(objective: Objective) -> None:
    """Raises ValueError where the parts of an objective do not fit each other."""
    check_window(objective.window, objective.num_steps)


def check_whole_runs(objective: Objective) -> None:
    """Raises ValueError where runs that are taken whole differ in length."""
    if objective.run_length is not None:
        raise ValueError("run_length must be constant where an estimate takes whole runs.")


def recipe_of(objective: Objective, theta: Theta) -> Recipe:
    """The recipe that `theta` stands for."""
    return recipe_by(objective.learned, theta, objective.num_steps, objective.layout)


def recipe_by(
    learned: LearnedOptimizer, theta: Theta, num_steps: int | Int[Array, ""], layout: Layout
) -> Recipe:
    """The recipe that `theta` stands for under a rule, for a classifier of this layout."""
    return Recipe(learned.optimizer(theta, num_steps, layout), answer=learned.answer)

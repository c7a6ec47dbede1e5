"""Who takes part in the final evaluation: learned optimizers, tuned rivals, augmented ones.

Tuning is by far the longest part after meta-training: what was found is kept in the folder, so
that a run that is resumed does not search again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from noiseproof.evaluate.protocol import Contestant
from noiseproof.evaluate.tuning import tune
from noiseproof.experiment.build import Experiment, Search
from noiseproof.experiment.progress import Progress
from noiseproof.experiment.tuned import recall, remember
from noiseproof.metatrain import recipe_of
from noiseproof.results import Kind, MetaTraining
from noiseproof.rivals import RIVALS
from noiseproof.types import Task, Theta

FIRST_AUGMENTED = 1000
"""Rivals have the folds of the key below it, augmented ones those from it on."""


class MetaTrained(NamedTuple):
    """A learned optimizer that is judged.

    Attributes:
        rule: Name of its rule.
        words: The outer loss that it was meta-trained on.
        theta: Its weights.
        initial_theta: The same before meta-training.
        cost: What meta-training cost.
        controls: The same rule meta-trained on something else: `(kind, words, theta)`.
    """

    rule: str
    words: str
    theta: Theta
    initial_theta: Theta
    cost: MetaTraining
    controls: tuple[tuple[str, str, Theta], ...] = ()


def contestants(
    experiment: Experiment,
    learned: MetaTrained,
    folder: Path,
    progress: Progress,
    key: PRNGKeyArray,
) -> list[Contestant]:
    """All that take part, the learned optimizer first.

    Args:
        experiment: The experiment.
        learned: The learned optimizer and its controls.
        folder: Where the outcome of each search is kept, and looked for.
        progress: What is told of searches.
        key: Fixes the searches.
    """
    return [
        *learned_contestants(experiment, learned),
        *rival_contestants(experiment, learned, folder, progress, key),
        *augmented_contestants(experiment, learned, folder, progress, key),
    ]


def learned_contestants(experiment: Experiment, learned: MetaTrained) -> list[Contestant]:
    """The learned optimizer, itself before meta-training, and its controls."""
    objective = experiment.problem.objective

    def trained(label: str, kind: Kind, words: str, theta: Theta) -> Contestant:
        return Contestant(label, kind, words, 0, recipe_of(objective, theta), objective.task)

    return [
        trained(learned.rule, "learned", learned.words, learned.theta),
        trained(f"{learned.rule} initial", "initial", "none", learned.initial_theta),
        *(
            trained(f"{learned.rule} on {kind}", "control", words, theta)
            for kind, words, theta in learned.controls
        ),
    ]


def rival_contestants(
    experiment: Experiment,
    learned: MetaTrained,
    folder: Path,
    progress: Progress,
    key: PRNGKeyArray,
) -> Iterator[Contestant]:
    """The hand-designed rivals, tuned on the outer loss."""
    objective = experiment.problem.objective
    num_matched = max(learned.cost.inner_steps // objective.num_steps, 1)
    for index, search in enumerate(experiment.searches):
        search = search._replace(num_trials=search.num_trials or num_matched)
        own_key = jax.random.fold_in(key, index)
        yield tuned_contestant(
            experiment, search, "hand", objective.task, folder, progress, own_key
        )


def augmented_contestants(
    experiment: Experiment,
    learned: MetaTrained,
    folder: Path,
    progress: Progress,
    key: PRNGKeyArray,
) -> Iterator[Contestant]:
    """With each augmentation the learned optimizer, as it is, and a rival that is tuned with it."""
    recipe = recipe_of(experiment.problem.objective, learned.theta)
    for index, augmented in enumerate(experiment.augmented):
        label = f"{learned.rule} with {augmented.name}"
        yield Contestant(label, "augmented", learned.words, 0, recipe, augmented.task)
        own_key = jax.random.fold_in(key, FIRST_AUGMENTED + index)
        search, task = augmented.search, augmented.task
        yield tuned_contestant(experiment, search, "augmented", task, folder, progress, own_key)


def tuned_contestant(
    experiment: Experiment,
    search: Search,
    kind: Kind,
    task: Task,
    folder: Path,
    progress: Progress,
    key: PRNGKeyArray,
) -> Contestant:
    """A rival at the best knobs of its search, which the folder may know already."""
    problem, rival = experiment.problem, RIVALS[search.rival]
    objective = problem.objective
    tuned = recall(folder, search)
    if tuned is None:
        progress.say(f"tuning {search.label}, {search.num_trials} trials")
        tuned = tune(
            task,
            rival,
            problem.data,
            problem.select_data,
            key,
            layout=objective.layout,
            num_steps=objective.num_steps,
            window=objective.window,
            in_turn=objective.placement.in_turn,
            num_trials=search.num_trials,
            num_finalists=experiment.num_finalists,
            num_final_runs=experiment.num_final_runs,
        )
        remember(folder, search.label, tuned)
    values = "  ".join(f"{knob} {value:.3g}" for knob, value in tuned.values.items())
    progress.say(f"{search.label}: {values}  select loss {tuned.select_loss:.4f}")
    recipe = rival.recipe(tuned.values, objective.num_steps, objective.layout)
    words = problem.outer_loss.words
    return Contestant(search.label, kind, words, tuned.num_trials, recipe, task)

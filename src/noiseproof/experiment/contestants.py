"""Who takes part in the final evaluation: learned optimizers, tuned rivals, augmented ones.

Tuning is by far the longest part after meta-training: what was found is kept in the folder, so
that a run that is resumed does not search again.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray
from rich.console import Console

from noiseproof.corruptions.kernels.noise import random_spectral_noise
from noiseproof.evaluate.protocol import Contestant
from noiseproof.evaluate.tuning import Tuned, tune
from noiseproof.experiment.folder import CONFIG_FILE
from noiseproof.experiment.problem import Problem, build_task
from noiseproof.experiment.settings import Config, as_dict
from noiseproof.metatrain import recipe_of
from noiseproof.results import Kind, MetaTraining, write_text
from noiseproof.rivals import RIVALS
from noiseproof.tasks.augmix import augmix
from noiseproof.tasks.meta_losses import Component
from noiseproof.types import Task, Theta

TUNED_FILE = "tuned.json"
"""What the searches found, in the folder of a run."""

SEARCHED_ON = ("data", "model", "inner", "outer", "split")
"""Sections of the settings that the outcome of a search depends on."""


class Control(NamedTuple):
    """The same rule, meta-trained on something else.

    Attributes:
        kind: Of the outer loss.
        words: The outer loss in words.
        theta: What it became.
    """

    kind: str
    words: str
    theta: Theta


class Comparison(NamedTuple):
    """What is compared, and under which names it is recorded.

    Attributes:
        preset: Name of the preset.
        config: Its settings.
        seed: Seed of meta-training, tuning and the inner runs.
        theta: The learned optimizer.
        initial_theta: The same before meta-training.
        meta_training: What meta-training cost.
        controls: The same rule, meta-trained on something else.
    """

    preset: str
    config: Config
    seed: int
    theta: Theta
    initial_theta: Theta
    meta_training: MetaTraining
    controls: tuple[Control, ...] = ()


def noisy_images(config: Config, _problem: Problem) -> Sequence[Component]:
    """White Gaussian noise, up to the greatest scale of the outer loss."""
    std = config.outer.std if config.outer.kind == "gaussian" else config.outer.std_high
    noise = random_spectral_noise(exponents=(0.0, 0.0), stds=(0.0, std), clip=config.outer.clip)
    return [Component(1.0, noise, "gaussian_noise")]


def outer_images(_config: Config, problem: Problem) -> Sequence[Component]:
    """What the outer loss is taken on, meta-train corruptions included."""
    return problem.outer_loss.components


def mixed_images(_config: Config, _problem: Problem) -> Sequence[Component]:
    """AugMix, see `tasks.augmix`."""
    return [Component(1.0, augmix(), "augmix")]


AUGMENTATIONS: dict[str, Callable[[Config, Problem], Sequence[Component]]] = {
    "gaussian_noise": noisy_images,
    "outer_loss": outer_images,
    "augmix": mixed_images,
}
"""What training images may be put through, by name: those who train so see more than others."""


def learned_contestants(comparison: Comparison, problem: Problem) -> list[Contestant]:
    """The learned optimizer, itself before meta-training, and its controls."""
    name, words = comparison.config.rule.name, problem.outer_loss.words
    task = problem.objective.task

    def trained(label: str, kind: Kind, words: str, theta: Theta) -> Contestant:
        return Contestant(label, kind, words, 0, recipe_of(problem.objective, theta), task)

    return [
        trained(name, "learned", words, comparison.theta),
        trained(f"{name} initial", "initial", "none", comparison.initial_theta),
        *(
            trained(f"{name} on {control.kind}", "control", control.words, control.theta)
            for control in comparison.controls
        ),
    ]


def rival_contestants(
    comparison: Comparison, problem: Problem, folder: Path, console: Console, key: PRNGKeyArray
) -> list[Contestant]:
    """The hand-designed rivals, tuned on the outer loss."""
    config = comparison.config
    tuning = config.tuning
    num_matched = comparison.meta_training.inner_steps // config.inner.num_steps
    searches = [
        *((name, name, tuning.num_trials) for name in tuning.rivals),
        *((f"{name} matched", name, max(num_matched, 1)) for name in tuning.matched_rivals),
    ]
    task = problem.objective.task
    return [
        tuned_contestant(
            label,
            name,
            "hand",
            task,
            num_trials,
            config,
            problem,
            folder,
            console,
            jax.random.fold_in(key, index),
        )
        for index, (label, name, num_trials) in enumerate(searches)
    ]


def augmented_contestants(
    comparison: Comparison, problem: Problem, folder: Path, console: Console, key: PRNGKeyArray
) -> list[Contestant]:
    """With each augmentation the learned optimizer, as it is, and a rival that is tuned with it."""
    config, contestants = comparison.config, []
    learned, rival = config.rule.name, config.tuning.augmented_rival
    for index, name in enumerate(config.tuning.augmentations):
        augmentation = AUGMENTATIONS[name](config, problem)
        task = build_task(config, problem.model, problem.outer_loss, augmentation)
        recipe = recipe_of(problem.objective, comparison.theta)
        words = problem.outer_loss.words
        contestants += [
            Contestant(f"{learned} with {name}", "augmented", words, 0, recipe, task),
            tuned_contestant(
                f"{rival} with {name}",
                rival,
                "augmented",
                task,
                config.tuning.num_trials,
                config,
                problem,
                folder,
                console,
                # Rivals alone have the folds from 0 on.
                jax.random.fold_in(key, 1000 + index),
            ),
        ]
    return contestants


def tuned_contestant(
    label: str,
    name: str,
    kind: Kind,
    task: Task,
    num_trials: int,
    config: Config,
    problem: Problem,
    folder: Path,
    console: Console,
    key: PRNGKeyArray,
) -> Contestant:
    """A rival at the best knobs of its search, which the folder may know already."""
    tuned = recall(folder, label)
    if tuned is None:
        console.print(f"tuning {label}, {num_trials or 'its own'} trials")
        tuned = tune(
            task,
            RIVALS[name],
            problem.data,
            problem.select_data,
            key,
            layout=problem.objective.layout,
            num_steps=config.inner.num_steps,
            num_trials=num_trials or None,
            num_finalists=config.tuning.num_finalists,
            num_final_runs=config.tuning.num_final_runs,
        )
        remember(folder, label, tuned)
    values = "  ".join(f"{knob} {value:.3g}" for knob, value in tuned.values.items())
    console.print(f"{label}: {values}  select loss {tuned.select_loss:.4f}", soft_wrap=True)
    recipe = RIVALS[name].recipe(tuned.values, config.inner.num_steps, problem.objective.layout)
    return Contestant(label, kind, problem.outer_loss.words, tuned.num_trials, recipe, task)


def recall(folder: Path, label: str) -> Tuned | None:
    """What a search found that was done in this folder; None if it was not."""
    path = folder / TUNED_FILE
    if not path.is_file():
        return None
    found = json.loads(path.read_text("utf-8")).get(label)
    return None if found is None else Tuned(**found)


def remember(folder: Path, label: str, tuned: Tuned) -> None:
    """Keeps what a search found in the folder."""
    path = folder / TUNED_FILE
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    write_text(path, json.dumps({**known, label: tuned._asdict()}, indent=2) + "\n")


def found_by(source: Path, config: Config) -> dict[str, Any]:
    """What the searches of another run found, on the same problem.

    Raises:
        ValueError: The folder is not that of a run that searched, or its problem is another.
    """
    try:
        searched_on = dict(json.loads((source / CONFIG_FILE).read_text("utf-8")))
        found = dict(json.loads((source / TUNED_FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        raise ValueError(
            f"{source} must be the folder of a run, with {CONFIG_FILE} and {TUNED_FILE}."
        ) from None
    for section in SEARCHED_ON:
        before, now = dict(searched_on.get(section, {})), as_dict(config)[section]
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if changed:
            then, here = (
                ", ".join(f"{section}.{name} = {settings.get(name)!r}" for name in changed)
                for settings in (before, now)
            )
            raise ValueError(
                f"The rivals in {source} were tuned with {then}, not {here}: tune them anew."
            )
    return found


def take_over(found: dict[str, Any], folder: Path) -> None:
    """Keeps in a folder that has no searches yet what those of another run found."""
    path = folder / TUNED_FILE
    if found and not path.is_file():
        write_text(path, json.dumps(found, indent=2) + "\n")

"""An experiment as one value: what its settings stand for, built once and checked before a run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec

from noiseproof.corruptions.images import check_side
from noiseproof.data import Dataset, image_shape
from noiseproof.evaluate.conditions import CONDITIONS, Conditions
from noiseproof.evaluate.published import with_published
from noiseproof.evaluate.suites import few
from noiseproof.evaluate.tuning import Budget
from noiseproof.experiment.augmentations import AUGMENTATIONS
from noiseproof.experiment.choices import OUTER_CHOICES, built, kind_of
from noiseproof.experiment.meta_problem import MetaProblem, build_meta_problem
from noiseproof.experiment.problem import Problem, build_problem, objective_of
from noiseproof.experiment.reading import converted
from noiseproof.experiment.settings import MetaTraining, Settings, Tuning, as_dict
from noiseproof.messages import did_you_mean, short
from noiseproof.metatrain import Objective, Plan
from noiseproof.metatrain.memory import check_fits, free_bytes, num_bytes
from noiseproof.metatrain.outer_loop import check_plan
from noiseproof.rivals import RIVALS
from noiseproof.rivals.ranges import usual_num_runs, usual_num_trials
from noiseproof.tasks.outer_losses import OUTER_LOSSES
from noiseproof.types import Batch, Model

MATCHED = " matched"
"""Ends the label of a search as long as meta-training."""


class Control(NamedTuple):
    """The same rule meta-trained on another outer loss, of a `kind`, in `words`."""

    kind: str
    words: str
    meta: MetaProblem


class Search(NamedTuple):
    """A search of a rival's knobs.

    Attributes:
        label: As in the records.
        rival: Key of `RIVALS`.
        num_trials: Points that it tries; None for as many inner steps as meta-training took.
    """

    label: str
    rival: str
    num_trials: int | None


class Augmented(NamedTuple):
    """An objective with augmented training images, and the rivals that are tuned on it."""

    name: str
    objective: Objective
    searches: tuple[Search, ...]


class Experiment(NamedTuple):
    """All that an experiment is made of.

    Attributes:
        problem: What classifiers are trained on and judged by.
        meta: What the outer loop takes.
        plan: How long meta-training goes, and how fast.
        controls: Meta-training on other outer losses.
        searches: Of rivals.
        budget: Of each search, save for its own number of trials.
        augmented: Augmented training images, with which optimizers are compared apart.
        conditions: What classifiers are tested on.
        split: The images of the evaluation, before any corruption.
        num_seeds: Inner seeds of the evaluation.
        record: The settings as JSON has them, for records alone.
    """

    problem: Problem
    meta: MetaProblem
    plan: Plan
    controls: tuple[Control, ...]
    searches: tuple[Search, ...]
    budget: Budget
    augmented: tuple[Augmented, ...]
    conditions: Conditions
    split: Batch
    num_seeds: int
    record: dict[str, Any]


def build_experiment(
    settings: Settings, data_dir: Path | None = None, corrupted: Path | None = None
) -> Experiment:
    """Reads the data and builds every component.

    Args:
        settings: The settings; nothing after this function sees them.
        data_dir: Folder of the data sets.
        corrupted: A folder in the layout of CIFAR-10-C or MNIST-C to be tested on, too.

    Raises:
        ValueError: Whatever is wrong in the settings or with the data, in one line.
    """
    tuning = settings.tuning
    check_names("tuning.rivals", tuning.rivals, RIVALS)
    check_names("tuning.matched_rivals", tuning.matched_rivals, RIVALS)
    check_names("tuning.augmentations", tuning.augmentations, AUGMENTATIONS)
    check_names("tuning.augmented_rivals", tuning.augmented_rivals, RIVALS)
    check_names("controls", settings.controls, OUTER_CHOICES)
    problem = build_problem(settings, data_dir)
    plan = build_plan(settings.meta)
    check_plan(plan)
    check_sizes(settings, problem)
    return Experiment(
        problem=problem,
        meta=build_meta_problem(settings, problem, data_dir),
        plan=plan,
        controls=tuple(build_control(settings, kind, data_dir) for kind in settings.controls),
        searches=build_searches(tuning, problem.model),
        budget=build_budget(tuning, problem.model),
        augmented=tuple(build_augmented(settings, problem, name) for name in tuning.augmentations),
        conditions=build_conditions(settings, problem, corrupted),
        split=tested_split(settings, problem.dataset),
        num_seeds=settings.evaluation.num_seeds,
        record=as_dict(settings),
    )


def build_plan(meta: MetaTraining) -> Plan:
    """How long meta-training goes, and how fast."""
    return Plan(**{name: getattr(meta, name) for name in Plan._fields})


def check_sizes(settings: Settings, problem: Problem) -> None:
    """Raises ValueError where images or classifiers that are in memory at once have no room.

    It counts the least that they can take, from their shapes alone.
    """
    shapes = jax.eval_shape(problem.model.init, jax.random.key(0))
    weights, image = num_bytes(shapes), 4 * math.prod(image_shape(problem.dataset))
    in_turn = problem.objective.placement.in_turn
    num_seeds = settings.evaluation.num_seeds
    at_once = 1 if in_turn else num_seeds
    theta = jax.eval_shape(problem.objective.learned.init, jax.random.key(0))
    inner, pool, select_runs = settings.inner, settings.pool, settings.meta.num_select_runs
    needed = {
        "The rule": 4 * num_bytes(theta),
        f"inner.num_steps = {inner.num_steps}": 4 * num_seeds * inner.num_steps,
        f"inner.batch_size = {inner.batch_size}": image * inner.batch_size * at_once,
        f"pool.size = {pool.size}": image * pool.size,
        f"pool.batch_size = {pool.batch_size}": image * pool.batch_size,
        f"evaluation.num_seeds = {num_seeds}": weights * num_seeds,
        f"meta.num_select_runs = {select_runs}": 0 if in_turn else 2 * weights * select_runs,
    }
    for what, size in needed.items():
        check_fits(size, free_bytes(), what, "less of it, or a smaller classifier")


def check_names(place: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    """Raises ValueError where a name is not among those that are known, or stands there twice."""
    for name in names:
        if name not in known:
            raise ValueError(
                f"{place} must be among {', '.join(known)}, got {short(name)}."
                + did_you_mean(name, known)
            )
    if len(set(names)) < len(names):
        raise ValueError(f"{place} must name each at most once, got {short(names)}.")


def build_searches(tuning: Tuning, model: Model) -> tuple[Search, ...]:
    """The searches of the rivals, those as long as meta-training last."""
    own = (Search(name, name, num_trials(tuning, name, model)) for name in tuning.rivals)
    matched = (Search(f"{name}{MATCHED}", name, None) for name in tuning.matched_rivals)
    return (*own, *matched)


def num_trials(tuning: Tuning, rival: str, model: Model) -> int:
    """The points of a rival's search: those of the settings, or the usual number."""
    return tuning.num_trials or usual_num_trials(RIVALS[rival], has_filters=has_filters(model))


def build_budget(tuning: Tuning, model: Model) -> Budget:
    """How long a search is, save for its number of trials."""
    num_runs = tuning.num_runs or usual_num_runs(has_filters=has_filters(model))
    return Budget(1, num_runs, tuning.num_finalists, tuning.num_final_runs)


def has_filters(model: Model) -> bool:
    """Whether a classifier is a convolutional network."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    return any(leaf.ndim == 4 for leaf in jax.tree.leaves(params))


def build_control(settings: Settings, kind: str, data_dir: Path | None) -> Control:
    """The same meta-training with the outer loss of another kind."""
    outer = converted({}, OUTER_CHOICES[kind], f"controls.{kind}")
    changed = msgspec.structs.replace(settings, outer=outer)
    problem = build_problem(changed, data_dir)
    meta = build_meta_problem(changed, problem, data_dir)
    return Control(kind, problem.outer_loss.words, meta)


def build_augmented(settings: Settings, problem: Problem, name: str) -> Augmented:
    """The problem with augmented training images, for the learned optimizer and rivals."""
    tuning, inner, model = settings.tuning, settings.inner, problem.model
    more = msgspec.structs.replace(inner, augmentations=(*inner.augmentations, name))
    changed = msgspec.structs.replace(settings, inner=more)
    objective = objective_of(changed, problem.dataset, model, problem.outer_loss)
    searches = (
        Search(f"{rival} with {name}", rival, num_trials(tuning, rival, model))
        for rival in tuning.augmented_rivals
    )
    return Augmented(name, objective, tuple(searches))


def build_conditions(
    settings: Settings, problem: Problem, corrupted: Path | None = None
) -> Conditions:
    """What classifiers are tested on.

    Raises:
        ValueError: A setting is unknown, images are too small for named corruptions, nothing is
            held out of a test, or the folder of corrupted images is not of the test images.
    """
    *size, num_channels = image_shape(problem.dataset)
    if kind_of(settings.conditions) == "named":
        check_side(tuple(size))
    conditions = built(
        CONDITIONS,
        settings.conditions,
        outer_loss=problem.outer_loss,
        num_channels=num_channels,
        developing=settings.evaluation.split == "select",
    )
    if settings.evaluation.split == "test" and "held_out" not in conditions.roles.values():
        raise ValueError(
            "The evaluation must hold something out, but all of it was meta-trained on or "
            f"developed on: {short(', '.join(map(str, conditions.roles)))}."
        )
    if corrupted is None:
        return conditions
    if settings.evaluation.split != "test":
        raise ValueError("Published files hold test images: evaluation.split must be test.")
    return with_published(
        conditions,
        corrupted,
        problem.dataset.test,
        num_images=settings.evaluation.num_images,
        num_classes=problem.dataset.num_classes,
    )


def check_held_out(settings: Settings, meta_trained: Settings, num_channels: int) -> None:
    """Makes sure that what an evaluation holds out was held out of meta-training, too.

    Args:
        settings: Of the evaluation.
        meta_trained: Those that theta was meta-trained with.
        num_channels: Of the images of the evaluation.

    Raises:
        ValueError: Something was meta-trained on.
    """

    def roles(outer: Any) -> Mapping[Any, str]:
        loss = built(OUTER_LOSSES, outer, num_channels=num_channels)
        given = {"outer_loss": loss, "num_channels": num_channels}
        return built(CONDITIONS, settings.conditions, **given).roles

    now, before = roles(settings.outer), roles(meta_trained.outer)
    wrong = [str(name) for name in now if now[name] == "held_out" != before[name]]
    if wrong and settings.evaluation.split == "test":
        raise ValueError(
            f"The optimizer was meta-trained on {kind_of(meta_trained.outer)}: the evaluation must "
            f"not hold out {short(', '.join(wrong))}."
        )


def tested_split(settings: Settings, dataset: Dataset) -> Batch:
    """The images of the evaluation, before any corruption."""
    split = dataset.test if settings.evaluation.split == "test" else dataset.select
    return few(split, settings.evaluation.num_images)

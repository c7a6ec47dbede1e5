"""What a config stands for: the data set, the classifier, the task and the learned rule."""

import dataclasses
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from noiseproof.corruptions.families import FAMILY_OF, SPLITS, Split, for_channels
from noiseproof.data import Dataset, image_shape, load_dataset
from noiseproof.experiment.components import build_component
from noiseproof.experiment.settings import Config
from noiseproof.metatrain import ESTIMATORS, RUN_LENGTHS, Objective, reparametrized
from noiseproof.metatrain.antithetic import recipe_of
from noiseproof.models import MODELS
from noiseproof.models.standardized import channel_statistics, standardized
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.optimizers.layout import layout_of
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.meta_losses import Component
from noiseproof.tasks.outer_losses import OUTER_LOSSES, OuterLoss, relative_to
from noiseproof.types import Batch, GradientEstimator, Model, Params, Task


class Problem(NamedTuple):
    """The components of an experiment.

    Attributes:
        dataset: All four splits; commands hand `test` to the final evaluation alone.
        model: The classifier.
        objective: The task, the learned rule and what it is meta-trained on.
        data: The task's data with the outer split.
        select_data: The task's data with the select split in its place.
        outer_loss: What theta is meta-trained and every rival is tuned on.
    """

    dataset: Dataset
    model: Model
    objective: Objective
    data: TaskData
    select_data: TaskData
    outer_loss: OuterLoss


def build_problem(config: Config, data_dir: Path | None) -> Problem:
    """Reads the data and builds the components.

    Raises:
        ValueError: Whatever is wrong in the config or with the data, in one line.
    """
    dataset = load_dataset(
        config.data.name, data_dir=data_dir, image_size=config.data.image_size or None
    )
    shape = image_shape(dataset)
    model = build_model(config, dataset)
    outer_loss = build_outer_loss(config, shape[2])
    params = jax.eval_shape(model.init, jax.random.key(0))
    objective = Objective(
        task=build_task(config, model, outer_loss),
        learned=build_component(LEARNED_OPTIMIZERS, config.rule.name, config.rule.options),
        layout=layout_of(params, shape),
        num_steps=config.inner.num_steps,
        loss_interval=config.outer.loss_interval,
        last_share=config.outer.last_share,
        max_loss=1.5 * math.log(dataset.num_classes),
    )
    check_rule(objective, params)
    train, outer, select = (on_device(split) for split in dataset[2:5])
    data, select_data = TaskData(train, outer), TaskData(train, select)
    return Problem(dataset, model, objective, data, select_data, outer_loss)


def build_model(config: Config, dataset: Dataset) -> Model:
    """The classifier, which standardizes its images by the clean training ones where asked."""
    model = build_component(
        MODELS,
        config.model.name,
        config.model.options,
        image_shape=image_shape(dataset),
        num_classes=dataset.num_classes,
    )
    if not config.data.standardize:
        return model
    return standardized(model, *channel_statistics(jnp.asarray(dataset.train.images)))


def check_rule(objective: Objective, params: Params) -> None:
    """Raises ValueError where the learned rule can not train such a classifier."""

    def start(key: PRNGKeyArray) -> Any:
        return recipe_of(objective, objective.learned.init(key)).optimizer.init(params)

    jax.eval_shape(start, jax.random.key(0))


def build_task(
    config: Config, model: Model, outer_loss: OuterLoss, augmentation: Sequence[Component] = ()
) -> Task:
    """The inner problem with an outer loss, and training images that are augmented or clean."""
    return image_classification(
        model,
        batch_size=config.inner.batch_size,
        outer_batch_size=config.outer.batch_size,
        components=outer_loss.components,
        pool_size=config.outer.pool_size,
        balance=config.outer.balance,
        augmentation=augmentation,
    )


def with_outer_kind(config: Config, problem: Problem, kind: str) -> tuple[Config, Problem]:
    """The same problem with another kind of outer loss, for a control."""
    outer = dataclasses.replace(config.outer, kind=kind, balance="mean", references={})
    config = dataclasses.replace(config, outer=outer)
    loss = build_outer_loss(config, image_shape(problem.dataset)[2])
    task = build_task(config, problem.model, loss)
    objective = problem.objective._replace(task=task)
    return config, problem._replace(objective=objective, outer_loss=loss)


def build_outer_loss(config: Config, num_channels: int) -> OuterLoss:
    """What theta is meta-trained and every rival is tuned on.

    Raises:
        ValueError: The kind or the split is unknown, or a setting is out of range.
    """
    settings = dataclasses.asdict(config.outer)
    settings["names"] = for_channels(corruption_split(config).meta_train, num_channels)
    kind = settings.pop("kind")
    known = inspect.signature(OUTER_LOSSES[kind]).parameters if kind in OUTER_LOSSES else {}
    options = {key: value for key, value in settings.items() if key in known}
    return relative_to(build_component(OUTER_LOSSES, kind, options), config.outer.references)


def corruption_split(config: Config) -> Split:
    """The named corruptions that are meta-trained on, and those that are held out.

    Raises:
        ValueError: There is no such split, or a family left out is not meta-trained on.
    """
    name, left_out = config.split.held_out, config.split.left_out
    if not name:
        return Split((), tuple(FAMILY_OF))
    if name not in SPLITS:
        raise ValueError(f"split.held_out must be one of {', '.join(SPLITS)}, got {name}.")
    seen = dict.fromkeys(FAMILY_OF[corruption] for corruption in SPLITS[name].meta_train)
    for family in left_out:
        if family not in seen:
            raise ValueError(f"split.left_out must be among {', '.join(seen)}, got {family}.")
    kept = (name for name in SPLITS[name].meta_train if FAMILY_OF[name] not in left_out)
    return SPLITS[name]._replace(meta_train=tuple(kept))


def build_estimator(config: Config, objective: Objective) -> GradientEstimator:
    """The gradient estimator of a config, given those of its settings that it has an option for."""
    settings = dataclasses.asdict(config.estimator)
    name = settings.pop("name")
    known = inspect.signature(ESTIMATORS[name]).parameters if name in ESTIMATORS else {}
    options = {key: value for key, value in settings.items() if key in known}
    run_length = build_component(
        RUN_LENGTHS,
        config.estimator.run_length,
        config.estimator.run_length_options,
        num_steps=objective.num_steps,
    )
    objective = objective._replace(run_length=run_length)
    if config.reparametrization.level != "none":
        scales = dataclasses.asdict(config.reparametrization)
        objective = reparametrized(objective, **scales)
    return build_component(ESTIMATORS, name, options, objective=objective)


def num_particles(config: Config) -> int:
    """The antithetic pairs of the estimator, or its runs where it has no pairs."""
    estimator = config.estimator
    builder = ESTIMATORS.get(estimator.name)
    known = inspect.signature(builder).parameters if builder else {}
    return estimator.num_pairs if "num_pairs" in known else estimator.num_runs


def on_device(split: Batch) -> Batch:
    """A split as arrays on the device, images in uint8."""
    return Batch(jnp.asarray(split.images), jnp.asarray(split.labels))

"""A classifier, its data and what it is judged on, from their sections of the settings."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from noiseproof.data import Dataset, image_shape, load_dataset
from noiseproof.data.dataset import subset
from noiseproof.experiment.augmentations import one_after_another
from noiseproof.experiment.choices import built, kind_of
from noiseproof.experiment.settings import Settings
from noiseproof.inner_loop import Window, faster_in_turn
from noiseproof.layouts.layout import layout_of
from noiseproof.metatrain import Objective, Placement, recipe_of
from noiseproof.models import MODELS
from noiseproof.models.standardized import channel_statistics, standardized
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.outer_losses import OUTER_LOSSES, OuterLoss
from noiseproof.types import Batch, Model, Params


class Problem(NamedTuple):
    """A classifier, its data and what it is judged on.

    Attributes:
        dataset: All four splits; only the final evaluation is handed `test`.
        model: The classifier.
        model_name: As in the records.
        objective: The task, the learned rule and what of a run counts.
        data: The task's data with the outer split.
        select_data: The task's data with the select split in its place.
        outer_loss: What theta is meta-trained and every rival is tuned on.
    """

    dataset: Dataset
    model: Model
    model_name: str
    objective: Objective
    data: TaskData
    select_data: TaskData
    outer_loss: OuterLoss


def build_problem(settings: Settings, data_dir: Path | None) -> Problem:
    """Reads the data and builds the components.

    Raises:
        ValueError: Whatever is wrong in the settings or with the data, in one line.
    """
    data = settings.data
    dataset = load_dataset(data.name, data_dir=data_dir, image_size=data.image_size or None)
    return problem_of(settings, dataset)


def problem_of(settings: Settings, dataset: Dataset) -> Problem:
    """Builds the components for a data set that is there, of the settings' image size.

    Raises:
        ValueError: Whatever is wrong in the settings, in one line.
    """
    data = settings.data
    dataset = subset(dataset, num_classes=data.num_classes, num_images=data.num_images)
    shape = image_shape(dataset)
    model = built(MODELS, settings.model, image_shape=shape, num_classes=dataset.num_classes)
    if data.standardize:
        model = standardized(model, *channel_statistics(jnp.asarray(dataset.train.images)))
    outer_loss = built(OUTER_LOSSES, settings.outer, num_channels=shape[2])
    objective = objective_of(settings, dataset, model, outer_loss)
    train, outer, select = (
        on_device(split) for split in (dataset.train, dataset.outer, dataset.select)
    )
    data, select_data = TaskData(train, outer), TaskData(train, select)
    name = kind_of(settings.model)
    return Problem(dataset, model, name, objective, data, select_data, outer_loss)


def objective_of(
    settings: Settings, dataset: Dataset, model: Model, outer_loss: OuterLoss
) -> Objective:
    """The task of a classifier, the learned rule, and what of a run counts.

    Raises:
        ValueError: Whatever is wrong in the settings, in one line.
    """
    inner, pool, window = settings.inner, settings.pool, settings.window
    params, shape = jax.eval_shape(model.init, jax.random.key(0)), image_shape(dataset)
    steps_per_epoch = len(dataset.train.labels) / inner.batch_size
    if inner.augmentations:
        # An augmented image hardly comes twice, and a rule counts how often it sees one.
        steps_per_epoch = float(inner.num_steps)
    objective = Objective(
        task=image_classification(
            model,
            batch_size=inner.batch_size,
            outer_batch_size=pool.batch_size,
            outer_loss=outer_loss,
            pool_size=pool.size,
            augmentation=one_after_another(inner.augmentations, outer_loss),
        ),
        learned=built(LEARNED_OPTIMIZERS, settings.rule, steps_per_epoch=steps_per_epoch),
        layout=layout_of(params, shape, apply=model.apply),
        num_steps=inner.num_steps,
        window=Window(
            loss_interval=window.loss_interval,
            last_share=window.last_share,
            max_loss=1.5 * math.log(dataset.num_classes),
        ),
        placement=Placement(in_turn=faster_in_turn(params, jax.default_backend())),
    )
    check_rule(objective, params)
    return objective


def check_rule(objective: Objective, params: Params) -> None:
    """Raises ValueError where the learned rule can not train such a classifier."""

    def start(params: Params, key: PRNGKeyArray) -> Any:
        return recipe_of(objective, objective.learned.init(key)).optimizer.init(params)

    jax.eval_shape(start, params, jax.random.key(0))


def on_device(split: Batch) -> Batch:
    """A split as arrays on the device, images in uint8."""
    return Batch(jnp.asarray(split.images), jnp.asarray(split.labels))

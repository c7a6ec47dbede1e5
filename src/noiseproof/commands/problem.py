"""What a config stands for: the data set, the classifier, the task and the learned rule."""

import dataclasses
import inspect
import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from noiseproof.configs import Config, build_component
from noiseproof.corruptions.noise import gaussian_noise
from noiseproof.data import Dataset, image_shape, load_dataset
from noiseproof.metatrain import ESTIMATORS, RUN_LENGTHS, Objective
from noiseproof.models import MODELS
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.optimizers.layout import layout_of
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.meta_losses import Component, clean
from noiseproof.types import Batch, GradientEstimator, Model


class Problem(NamedTuple):
    """The components of an experiment.

    Attributes:
        dataset: All four splits; commands hand `test` to the final evaluation alone.
        model: The classifier.
        objective: The task, the learned rule and what it is meta-trained on.
        data: The task's data with the outer split.
        select_data: The task's data with the select split in its place.
    """

    dataset: Dataset
    model: Model
    objective: Objective
    data: TaskData
    select_data: TaskData


def build_problem(config: Config, data_dir: Path | None) -> Problem:
    """Reads the data and builds the components.

    Raises:
        ValueError: Whatever is wrong in the config or with the data, in one line.
    """
    dataset = load_dataset(
        config.data.name, data_dir=data_dir, image_size=config.data.image_size or None
    )
    shape = image_shape(dataset)
    model = build_component(
        MODELS,
        config.model.name,
        config.model.options,
        image_shape=shape,
        num_classes=dataset.num_classes,
    )
    task = image_classification(
        model,
        batch_size=config.inner.batch_size,
        outer_batch_size=config.outer.batch_size,
        components=components(config),
        pool_size=config.outer.pool_size,
    )
    params = jax.eval_shape(model.init, jax.random.key(0))
    objective = Objective(
        task=task,
        learned=build_component(LEARNED_OPTIMIZERS, config.rule.name, config.rule.options),
        layout=layout_of(params, shape),
        num_steps=config.inner.num_steps,
        loss_interval=config.outer.loss_interval,
        last_share=config.outer.last_share,
        max_loss=1.5 * math.log(dataset.num_classes),
    )
    train, outer, select = (on_device(split) for split in dataset[2:5])
    return Problem(dataset, model, objective, TaskData(train, outer), TaskData(train, select))


def components(config: Config) -> list[Component]:
    """The mixture that the outer loss is a mean over."""
    share = config.outer.clean_weight
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"outer.clean_weight must lie in [0, 1], got {share}.")
    noisy = gaussian_noise(std=config.outer.std, clip=config.outer.clip)
    mixture = [Component(1.0 - share, noisy), Component(share, clean)]
    return [component for component in mixture if component.weight > 0]


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
    return build_component(ESTIMATORS, name, options, objective=objective)


def on_device(split: Batch) -> Batch:
    """A split as arrays on the device, images in uint8."""
    return Batch(jnp.asarray(split.images), jnp.asarray(split.labels))


def outer_loss_words(config: Config) -> str:
    """The outer loss in words, for records: what theta and all rivals are tuned on."""
    words = f"gaussian_noise std {config.outer.std:g}"
    share = config.outer.clean_weight
    return f"{words} ({share:.0%} clean)" if share else words

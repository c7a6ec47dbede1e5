"""The tasks that one rule for all classifiers is meta-trained on: data, classifiers, runs.

A rule learns how its rates should scale from tasks that differ in size, and learns what to do where
a classifier overfits from tasks of few images and long runs. Tasks differ in shapes, so that each
is a compiled program of its own; lengths of runs within one are drawn, see `metatrain.run_lengths`.
What is judged later on is not among them: color images of 32 pixels, deep residual nets, the widest
classifiers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from noiseproof.data.dataset import Dataset, shrink
from noiseproof.models import MODELS
from noiseproof.models.standardized import channel_statistics, standardized
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.outer_losses import OuterLoss
from noiseproof.types import Batch, Model, Task


class TaskSpec(NamedTuple):
    """A task in words.

    Attributes:
        data: Name of the data set.
        image_size: Side in pixels after cropping.
        model: Name of the classifier.
        options: Its builder's.
        batch_size: Images a step.
        shortest, longest: Steps of a run, drawn log-uniformly between.
        crop: Side of the middle of the image that is kept before it is shrunk; 0 keeps all.
        num_classes: The first so many classes.
        num_images: Training images, at most; 0 for all.
        num_pairs: Antithetic pairs that the estimator should take, in units of its own number.
    """

    data: str
    image_size: int
    model: str
    options: Mapping[str, Any]
    batch_size: int
    shortest: int
    longest: int
    crop: int = 0
    num_classes: int = 10
    num_images: int = 0
    num_pairs: float = 1.0


UNIVERSAL: Mapping[str, TaskSpec] = {
    "fashion mlp": TaskSpec(
        "fashion-mnist", 14, "mlp", {"hidden_sizes": (32,)}, 64, 200, 1000
    ),
    "cifar convnet": TaskSpec(
        "cifar-10", 16, "convnet", {"channels": (8, 16, 32)}, 64, 500, 2000
    ),
    "fashion convnet": TaskSpec(
        "fashion-mnist", 14, "convnet", {"channels": (8, 16, 32)}, 64, 200, 1000
    ),
    "cifar resnet": TaskSpec(
        "cifar-10", 16, "resnet", {"depth": 8, "width": 8}, 128, 500, 2000, num_pairs=0.5
    ),
    "deep mlp": TaskSpec(
        "fashion-mnist", 14, "mlp", {"hidden_sizes": (128, 128, 128, 128)}, 64, 400, 2000
    ),
    "wide convnet": TaskSpec(
        "cifar-10", 16, "convnet", {"channels": (32, 64, 128)}, 128, 400, 2000, num_pairs=0.5
    ),
    "digits mlp": TaskSpec(
        "digits", 8, "mlp", {"hidden_sizes": (64, 64), "norm": "layer"}, 32, 200, 1000
    ),
    "overfitting convnet": TaskSpec(
        "fashion-mnist", 14, "convnet", {"channels": (8, 16, 32)}, 32, 1000, 4000, num_images=1000
    ),
    "thin mlp": TaskSpec("mnist", 10, "mlp", {"hidden_sizes": (16,)}, 16, 200, 1000, crop=20),
    "deep convnet": TaskSpec(
        "fashion-mnist",
        14,
        "convnet",
        {"channels": (16, 16, 32, 32, 64), "norm": "group"},
        64,
        400,
        2000,
    ),
    "overfitting mlp": TaskSpec(
        "cifar-10", 8, "mlp", {"hidden_sizes": (256,)}, 16, 1000, 4000, num_classes=5,
        num_images=2000,
    ),
    "group resnet": TaskSpec(
        "cifar-10", 16, "resnet", {"depth": 8, "width": 16, "norm": "group"}, 64, 400, 2000,
        num_pairs=0.5,
    ),
    "shallow convnet": TaskSpec(
        "mnist", 14, "convnet", {"channels": (16,)}, 256, 200, 800, num_classes=6, num_images=2000
    ),
    "thin convnet": TaskSpec("cifar-10", 16, "convnet", {"channels": (4, 8, 16)}, 32, 400, 2000),
}  # fmt: skip
"""By name; the first ones are the most alike those of the single-task presets."""


class Built(NamedTuple):
    """A task ready to be trained on. Attributes: the classifier, the task, its data with the outer
    split, and with the select split in its place."""

    model: Model
    task: Task
    data: TaskData
    select_data: TaskData


def build(
    spec: TaskSpec,
    dataset: Dataset,
    outer_loss: OuterLoss,
    *,
    pool_size: int = 2048,
    outer_batch_size: int = 64,
) -> Built:
    """The task that a spec describes.

    Args:
        spec: What to build.
        dataset: The data set that it names.
        outer_loss: What the meta-loss is taken over.
        pool_size: Outer images that are corrupted once an outer step.
        outer_batch_size: Images of the pool for one evaluation of the meta-loss.
    """
    parts = (dataset.train, dataset.outer, dataset.select)
    train, outer, select = (selected(part, spec) for part in parts)
    if spec.num_images:
        train = Batch(train.images[: spec.num_images], train.labels[: spec.num_images])
    shape = train.images.shape[1:]
    plain = MODELS[spec.model](image_shape=shape, num_classes=spec.num_classes, **spec.options)
    model = standardized(plain, *channel_statistics(jnp.asarray(train.images)))
    task = image_classification(
        model,
        batch_size=spec.batch_size,
        outer_batch_size=outer_batch_size,
        outer_loss=outer_loss,
        pool_size=pool_size,
    )
    inner, outer, select = (Batch(*map(jnp.asarray, part)) for part in (train, outer, select))
    return Built(model, task, TaskData(inner, outer), TaskData(inner, select))


def selected(part: Batch, spec: TaskSpec) -> Batch:
    """The images of a split that belong to the task, cropped and shrunk."""
    chosen = np.flatnonzero(part.labels < spec.num_classes)
    images = part.images[chosen]
    if spec.crop:
        start = (images.shape[1] - spec.crop) // 2
        images = images[:, start : start + spec.crop, start : start + spec.crop]
    return Batch(shrink(images, spec.image_size), part.labels[chosen])

"""The classifiers and the data that speed is measured on: seeded uint8 noise of an image's shape.

What a step costs does not depend on what is in the pictures, and noise needs no download.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from noiseproof.inner_loop import faster_in_turn
from noiseproof.layouts.layout import layout_of
from noiseproof.metatrain import Objective, Placement, flattened
from noiseproof.models import convnet, mlp, resnet
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Model

NUM_IMAGES = 50_000
NUM_CLASSES = 10
NUM_STEPS = 200


class Problem(NamedTuple):
    """Attributes: builder of the classifier, its images, and how many a batch has."""

    build: Callable[..., Model]
    image_shape: tuple[int, int, int]
    batch_size: int


PROBLEMS = {
    "mlp": Problem(partial(mlp, hidden_sizes=(32,)), (28, 28, 1), 64),
    "convnet": Problem(partial(convnet, channels=(8, 16, 32)), (28, 28, 1), 128),
    "small_color_convnet": Problem(partial(convnet, channels=(8, 16, 32)), (16, 16, 3), 128),
    "small_resnet": Problem(partial(resnet, depth=8, width=8), (16, 16, 3), 128),
    "celo2": Problem(partial(mlp, hidden_sizes=(32,)), (8, 8, 1), 128),
}
"""The last is of Moudgil, Knyazev, Belilovsky: Celo2, arXiv 2602.19142, whose meta-training (8
tasks, truncations of 50) made 4,900 inner steps/s on an L40S."""


def random_data(problem: Problem) -> TaskData:
    """Images and labels under a fixed seed, the same to train on and to judge by."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (NUM_IMAGES, *problem.image_shape), dtype=np.uint8)
    labels = generator.integers(0, NUM_CLASSES, NUM_IMAGES).astype(np.int32)
    batch = Batch(jnp.asarray(images), jnp.asarray(labels))
    return TaskData(batch, batch)


def build_objective(problem: Problem, rule: str) -> Objective:
    """Runs of 200 steps, each judged by its loss on a clean batch of the same size; as in `run`
    theta is one vector.
    """
    model = problem.build(image_shape=problem.image_shape, num_classes=NUM_CLASSES)
    task = image_classification(
        model,
        batch_size=problem.batch_size,
        outer_batch_size=problem.batch_size,
        outer_loss=mixture(Component(1.0, clean)),
    )
    params = jax.eval_shape(model.init, jax.random.key(0))
    objective = Objective(
        task,
        LEARNED_OPTIMIZERS[rule](),
        layout_of(params, problem.image_shape),
        num_steps=NUM_STEPS,
        placement=Placement(in_turn=faster_in_turn(params, jax.default_backend())),
    )
    return flattened(objective)[0]

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.layouts.layout import layout_of
from noiseproof.models import MODELS
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.outer_losses import clean_images
from noiseproof.types import Batch, Model, Task


class Small(NamedTuple):
    model: Model
    task: Task
    data: TaskData
    layout: Any


@pytest.fixture(scope="session")
def small() -> Small:
    """A perceptron on random images."""
    model = MODELS["mlp"](image_shape=(6, 6, 1), num_classes=3, hidden_sizes=(5,))
    generator = np.random.default_rng(0)
    images = jnp.asarray(generator.integers(0, 256, (40, 6, 6, 1), dtype=np.uint8))
    split = Batch(images, jnp.arange(40, dtype=jnp.int32) % 3)
    task = image_classification(model, batch_size=8, outer_loss=clean_images())
    params = jax.eval_shape(model.init, jax.random.key(0))
    return Small(model, task, TaskData(split, split), layout_of(params, (6, 6, 1)))

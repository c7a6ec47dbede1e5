"""Tunes and judges on one device and on several, and prints what both found; run by a test."""

import json

import jax
import numpy as np
import optax

from noiseproof.evaluate.protocol import grade, judge, predicted
from noiseproof.evaluate.scoring import TunedOn, outer_loss
from noiseproof.evaluate.suites import TestSet
from noiseproof.evaluate.tuning import Budget, tune
from noiseproof.inner_loop import Window
from noiseproof.metatrain.sharding import Placement, exchanged_bytes, spread, use_all_cores
from noiseproof.models import mlp
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import LogUniform
from noiseproof.tasks.image_classification import TaskData, image_classification, to_float
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Recipe

MODEL = mlp(image_shape=(3, 3, 1), num_classes=3, hidden_sizes=(4,))
TASK = image_classification(
    MODEL, batch_size=4, outer_batch_size=4, outer_loss=mixture(Component(1.0, clean)), pool_size=8
)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 3, 1))
# NumPy arrays, since an array of JAX would begin it before there are several devices.
SPLIT = Batch(IMAGES.astype(np.uint8), (np.arange(12) % 3).astype(np.int32))
DATA = TaskData(SPLIT, SPLIT)
# Fewer than a pool has, so that finals have a program of their own.
SELECT = TaskData(SPLIT, Batch(SPLIT.images[:6], SPLIT.labels[:6]))
SGD = Rival(
    {"learning_rate": LogUniform(1e-3, 1.0)},
    lambda values, _num_steps, _layout: Recipe(optax.sgd(values["learning_rate"])),
)


def found(placement: Placement) -> dict[str, list[float]]:
    problem = TunedOn(TASK, DATA, SELECT, None, 6, Window(), placement)
    tuned = tune(problem, SGD, Budget(9, 2, 2, 2), jax.random.key(0), name="sgd")
    recipe = Recipe(optax.sgd(0.1))
    judged = judge(
        *(TASK, MODEL, recipe, DATA, [TestSet("none", "none", None, 0.0, "clean", SPLIT)]),
        jax.random.split(jax.random.key(1), 5),
        num_steps=6,
        num_classes=3,
        placement=placement,
    )
    return {
        "outer": [outer_loss(problem, recipe, 2, jax.random.key(0))],
        "trials": tuned.outer_losses,
        "finals": tuned.final_losses,
        "losses": judged.loss[:, 0].tolist(),
    }


def graded() -> dict[str, list[float]]:
    """Images of three stretches, the last of them not full, beside all in one call."""
    images = np.random.default_rng(1).integers(0, 256, (110, 3, 3, 1)).astype(np.uint8)
    batch = Batch(images, (np.arange(110) % 3).astype(np.int32))
    params = jax.vmap(MODEL.init)(jax.random.split(jax.random.key(0), 2))
    logits = jax.vmap(lambda one: MODEL.apply(one, to_float(images)))(params)
    labels = np.stack([batch.labels] * 2)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    return {
        "exchanged": [exchanged_bytes(predicted.lower(MODEL, params, batch).compile())],
        "spread": grade(MODEL, params, batch).loss.tolist(),
        "whole": losses.mean(axis=1).tolist(),
    }


if __name__ == "__main__":
    use_all_cores()
    num_devices = len(jax.devices())
    both = found(Placement()), found(spread(Placement(), 8))
    print(json.dumps([num_devices, *both, graded()]))

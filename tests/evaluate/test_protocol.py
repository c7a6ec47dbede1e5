from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.corruptions.noise import gaussian_noise
from noiseproof.evaluate.protocol import (
    Contestant,
    Judged,
    TestSet,
    corrupted,
    curve_points,
    grade,
    judge,
    result_rows,
)
from noiseproof.models import mlp
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.meta_losses import Component, clean
from noiseproof.types import Batch, Recipe

MODEL = mlp(image_shape=(4, 4, 1), num_classes=3, hidden_sizes=(5,))
TASK = image_classification(
    MODEL, batch_size=8, outer_batch_size=8, components=[Component(1.0, clean)], pool_size=16
)
RECIPE = Recipe(optax.adam(1e-2))
DIVERGING = Recipe(optax.sgd(1e30))


def images(num_images: int, seed: int) -> Batch:
    generator = np.random.default_rng(seed)
    return Batch(
        generator.integers(0, 256, (num_images, 4, 4, 1), dtype=np.uint8),
        generator.integers(0, 3, num_images).astype(np.int32),
    )


TRAIN = jax.tree.map(jnp.asarray, images(50, 0))
SETS = [
    TestSet("none", "none", None, 0.0, "clean", images(40, 1)),
    TestSet("gaussian_noise", "noise", None, 0.5, "meta_train", images(40, 2)),
]


def judged(recipe: Recipe = RECIPE, num_seeds: int = 3) -> Judged:
    keys = jax.random.split(jax.random.key(0), num_seeds)
    data = TaskData(TRAIN, TRAIN)
    return judge(TASK, MODEL, recipe, data, SETS, keys, num_steps=30, num_classes=3)


def test_grades_are_those_of_plain_numpy() -> None:
    params = jax.vmap(MODEL.init)(jax.random.split(jax.random.key(1), 2))
    accuracy, loss = grade(MODEL, params, SETS[0].batch)
    for index in range(2):
        one = jax.tree.map(lambda leaf, at=index: leaf[at], params)
        logits = np.asarray(MODEL.apply(one, jnp.asarray(SETS[0].batch.images / np.float32(255))))
        labels = SETS[0].batch.labels
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(accuracy[index], (logits.argmax(axis=1) == labels).mean())
        expected = -np.log(probabilities[np.arange(40), labels]).mean()
        np.testing.assert_allclose(loss[index], expected, rtol=1e-5)


def test_recipes_are_paired_by_key() -> None:
    # A recipe that never moves keeps the initial weights: they are the same for all.
    still = judged(Recipe(optax.sgd(0.0)))
    again = judged(Recipe(optax.set_to_zero()))
    np.testing.assert_array_equal(still.accuracy, again.accuracy)
    np.testing.assert_array_equal(still.curve, again.curve)
    assert len(set(still.loss[:, 0])) == 3


def test_a_diverged_run_counts_at_chance() -> None:
    found = judged(DIVERGING)
    assert found.diverged.all()
    np.testing.assert_allclose(found.accuracy, 1 / 3)
    assert np.isinf(found.loss).all()
    assert not judged().diverged.any()


def test_corrupted_images_are_fixed_by_their_key() -> None:
    noise = gaussian_noise(std=0.5, clip=False)
    first, again, other = (corrupted(SETS[0].batch, noise, jax.random.key(n)) for n in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    assert np.abs(np.asarray(first.images - other.images)).max() > 0.1
    difference = np.asarray(first.images) - SETS[0].batch.images / np.float32(255)
    # The standard deviation of 640 draws has a relative standard error of 1/√(2·640).
    assert abs(difference.std() / 0.5 - 1) < 4 / np.sqrt(2 * 640)


def rows_of(found: Judged) -> list[Any]:
    contestant = Contestant("adam", "hand", "gaussian_noise std 0.5", 64, RECIPE)
    return result_rows(
        contestant,
        found,
        SETS,
        experiment="gaussian",
        dataset="made up",
        model="mlp",
        meta_seed=7,
        num_steps=30,
    )


def test_every_seed_and_set_has_its_row() -> None:
    found = judged()
    rows = rows_of(found)
    assert [(row.seed, row.role) for row in rows] == [
        (seed, role) for seed in range(3) for role in ("clean", "meta_train")
    ]
    assert rows[3].accuracy == pytest.approx(found.accuracy[1, 1])
    assert {row.meta_seed for row in rows} == {7}
    assert {row.strength for row in rows} == {0.0, 0.5}


def test_a_curve_has_points_inside_the_run_with_intervals() -> None:
    points = curve_points("adam", judged(), num_steps=30)
    assert [point.step for point in points] == list(range(30))
    assert all(point.low < point.loss < point.high for point in points)
    assert {point.n for point in points} == {3}

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.evaluate.protocol import (
    Judged,
    Trained,
    as_it_is,
    calibration_error,
    curves,
    grade,
    judge,
    judge_all,
    scores,
)
from noiseproof.evaluate.samples import answers, sampled, samples
from noiseproof.evaluate.suites import TestSet
from noiseproof.metatrain.sharding import Placement
from noiseproof.models import mlp
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Recipe

MODEL = mlp(image_shape=(4, 4, 1), num_classes=3, hidden_sizes=(5,))
TASK = image_classification(
    MODEL, batch_size=8, outer_batch_size=8, outer_loss=mixture(Component(1.0, clean)), pool_size=16
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
    options = {"num_steps": 30, "num_classes": 3, "placement": Placement()}
    return judge(TASK, MODEL, recipe, data, SETS, keys, **options)


def test_programs_that_are_compiled_side_by_side_keep_their_order_and_results() -> None:
    # A pool that gave programs back as they are done would swap contestants.
    recipes = [RECIPE, DIVERGING, Recipe(optax.adam(1e-3))]
    told: list[tuple[str, int, int]] = []
    found = judge_all(
        [as_it_is(TASK, recipe) for recipe in recipes],
        *(MODEL, TaskData(TRAIN, TRAIN), lambda: SETS, jax.random.split(jax.random.key(0), 3)),
        layout=(),
        num_steps=30,
        num_classes=3,
        placement=Placement(),
        on_compiled=lambda done, total: told.append(("compiled", done, total)),
        on_judged=lambda done, total: told.append(("judged", done, total)),
    )
    for recipe, one in zip(recipes, found, strict=True):
        np.testing.assert_array_equal(one.loss, judged(recipe).loss)
    assert told == [(name, done, 3) for name in ("compiled", "judged") for done in (1, 2, 3)]


def test_optimizers_that_differ_in_numbers_alone_share_a_program_and_not_their_numbers() -> None:
    """Catches a program for every theta and every transferred rival, and one that keeps the
    numbers of the first."""

    def by_sgd(values: dict[str, Any], num_steps: int, _layout: object) -> Recipe:
        return Recipe(optax.sgd(values["rate"] / num_steps))

    rates, told = (0.3, 3.0, 30.0), []
    found = judge_all(
        [Trained(TASK, by_sgd, {"rate": rate}) for rate in rates] + [as_it_is(TASK, RECIPE)],
        *(MODEL, TaskData(TRAIN, TRAIN), lambda: SETS, jax.random.split(jax.random.key(0), 3)),
        layout=(),
        num_steps=30,
        num_classes=3,
        placement=Placement(),
        on_compiled=lambda *counts: told.append(counts),
    )
    assert told == [(1, 2), (2, 2)]
    for rate, one in zip(rates, found, strict=False):
        alone = judged(Recipe(optax.sgd(rate / 30)))
        np.testing.assert_allclose(one.loss, alone.loss, rtol=1e-5)
    np.testing.assert_array_equal(found[-1].loss, judged().loss)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Over 15 bins of confidence, open on the left (C. Guo and others, 2017)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    edges = np.arange(15) / 15
    bins = [(confidence > low) & (confidence <= low + 1 / 15) for low in edges]
    gaps = [
        abs(right[one].mean() - confidence[one].mean()) * one.mean() for one in bins if one.any()
    ]
    return sum(gaps)


def test_grades_are_those_of_plain_numpy() -> None:
    params = jax.vmap(MODEL.init)(jax.random.split(jax.random.key(1), 2))
    accuracy, loss, calibration = grade(MODEL, params, SETS[0].batch)
    for index in range(2):
        one = jax.tree.map(lambda leaf, at=index: leaf[at], params)
        logits = np.asarray(MODEL.apply(one, jnp.asarray(SETS[0].batch.images / np.float32(255))))
        labels = SETS[0].batch.labels
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(accuracy[index], (logits.argmax(axis=1) == labels).mean())
        expected = -np.log(probabilities[np.arange(40), labels]).mean()
        np.testing.assert_allclose(loss[index], expected, rtol=1e-5)
        error = expected_calibration_error(probabilities, labels)
        np.testing.assert_allclose(calibration[index], error, rtol=1e-4)


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
    assert (found.said == -1).all()
    assert np.isnan(found.calibration_error).all()
    assert not judged().diverged.any()


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    """0.3 and 1/3 share the fifth bin of 15, where a gap of 0.7 and one of -1/3 make up."""
    error = calibration_error(jnp.array([True, False]), jnp.array([0.3, 1 / 3]))
    assert float(error) == pytest.approx((0.7 - 1 / 3) / 2)


def test_calibration_on_the_device_is_that_of_the_metric() -> None:
    """Confidences on the edges of bins and at 1 included."""
    generator = np.random.default_rng(0)
    confidence = np.r_[generator.uniform(0.5, 1, 500), 0.6, 0.8, 1.0].astype(np.float32)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = generator.integers(0, 2, 503)
    found = calibration_error(jnp.asarray(labels == 0), jnp.asarray(confidence))
    expected = expected_calibration_error(probabilities, labels)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_time_and_memory_of_training_are_taken() -> None:
    """A classifier of 80 + 5 + 15 + 3 floats and 30 losses can not do with less than they take."""
    found = judged()
    assert 0 < found.train_seconds < 100
    assert found.train_bytes is not None
    assert found.train_bytes > 4 * (103 + 30)


def test_the_scores_of_a_record_count_right_images_and_none_of_diverged_runs() -> None:
    found, diverged = judged(), judged(DIVERGING)
    made = scores([found, diverged], num_images=40)
    assert made.right.shape == (2, 2, 3)
    # Optimizer, condition, seed: not seed, condition.
    np.testing.assert_allclose(made.right[0] / 40, found.accuracy.T, rtol=1e-6)
    np.testing.assert_array_equal(made.calibration_error[0], found.calibration_error.T)
    assert (made.right[1] == 0).all()
    assert made.diverged.tolist() == [[False] * 3, [True] * 3]


def test_curves_leave_out_what_diverged() -> None:
    """Catches an evaluation that is lost at its end for one run of many that diverged."""
    found = judged()
    curve = np.array(found.curve)
    curve[0, 20:] = np.nan
    half, none = found._replace(curve=curve), judged(DIVERGING)
    made = curves([half, none], num_steps=30)
    np.testing.assert_allclose(made.curve[0, 20:], found.curve[1:, 20:].mean(axis=0), rtol=1e-6)
    assert np.isfinite(made.low[0]).all()
    assert np.isnan(made.curve[1, -1])


def test_a_curve_has_points_inside_the_run_with_intervals() -> None:
    found = judged()
    made = curves([found, found], num_steps=30)
    assert made.curve.shape == made.low.shape == (2, 25)
    # 30 steps in 25 stretches: five of two steps, of which the first is the middle, then single.
    assert made.step.tolist() == [0, 2, 4, 6, 8, *range(10, 30)]
    np.testing.assert_allclose(made.curve[1], found.curve.mean(axis=0), rtol=1e-6)
    assert ((made.low < made.curve) & (made.curve < made.high)).all()


def test_samples_are_a_few_images_as_they_were_tested_and_what_was_said_of_them() -> None:
    """Catches predictions of another seed or image, and noise that wraps around in uint8."""
    labels = np.array([2, 2, 0, 1, 0], np.int32)
    test = images(5, 3)._replace(labels=labels)
    bright = Batch(np.full((5, 4, 4, 1), 1.5, np.float32), labels)
    fog = [
        TestSet("fog", "photometric", severity, None, "held_out", images(5, severity))
        for severity in (2, 3)
    ]
    noise = TestSet("gaussian_noise", "noise", None, 0.5, "held_out", bright)
    published = TestSet("fog (published)", "photometric", None, None, "published", test)
    sets = [TestSet("none", "none", None, 0.0, "clean", test), *fog, noise, published]
    params = jax.vmap(MODEL.init)(jax.random.split(jax.random.key(1), 2))
    said = np.asarray(answers(MODEL, params, sampled(sets)))
    found = samples(sets, [said])
    assert found is not None
    np.testing.assert_array_equal(found.sample_condition, [0, 2, 3])
    np.testing.assert_array_equal(found.sample_label, [0, 1, 2])
    np.testing.assert_array_equal(found.sample_image[1], fog[1].batch.images[[2, 3, 0]])
    assert (found.sample_image[2] == 255).all()
    one = jax.tree.map(lambda leaf: leaf[0], params)
    logits = MODEL.apply(one, jnp.asarray(fog[1].batch.images[[2, 3, 0]] / np.float32(255)))
    np.testing.assert_array_equal(found.sample_class[0, 1], logits.argmax(axis=1))
    large = test._replace(images=np.zeros((5, 256, 256, 3), np.uint8))
    assert samples([TestSet("none", "none", None, 0.0, "clean", large)], [said]) is None

"""The final evaluation: every optimizer trains the same classifiers, all are tested alike.

Under one seed every optimizer starts from the same weights and sees the same batches, so that
differences are paired. The test split is touched here and nowhere else; its corrupted copies are
drawn once and are the same for all optimizers and seeds. A diverged run counts at chance.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.results import CurvePoint, Kind, ResultRow, Role, mean_interval
from noiseproof.tasks.image_classification import to_float
from noiseproof.types import Batch, Data, ImageTransform, Model, Params, Recipe, Task

IMAGES_AT_ONCE = 1000
"""Test images in one vectorized call."""

CURVE_POINTS = 100
"""Points of a learning curve, each the mean over a stretch of the run."""


class Contestant(NamedTuple):
    """An optimizer in the final evaluation.

    Attributes:
        name: As in the records.
        kind: As in the records.
        tuned_on: The outer loss that chose its theta or its knobs, in words.
        num_trials: Points that its search tried; 0 where there was none.
        recipe: How it trains.
    """

    name: str
    kind: Kind
    tuned_on: str
    num_trials: int
    recipe: Recipe


class TestSet(NamedTuple):
    """Test images under one condition; the fields are those of the records, then the images."""

    __test__ = False  # not a test case

    corruption: str
    family: str
    severity: int | None
    strength: float | None
    role: Role
    batch: Batch


class Judged(NamedTuple):
    """What an optimizer's classifiers reached.

    Attributes:
        accuracy: On each test set, that of chance where the run diverged.
        loss: Mean cross-entropy in nats, infinite where the run diverged.
        diverged: Whether a training loss was not finite.
        curve: Training losses, each the mean over a stretch of the run.
    """

    accuracy: Float[np.ndarray, "seeds sets"]
    loss: Float[np.ndarray, "seeds sets"]
    diverged: Bool[np.ndarray, " seeds"]
    curve: Float[np.ndarray, "seeds points"]


def corrupted(split: Batch, transform: ImageTransform, key: PRNGKeyArray) -> Batch:
    """Every image of a split, corrupted once, as floats."""
    images = to_float(jnp.asarray(split.images))
    keys = jax.random.split(key, images.shape[0])
    return Batch(jax.jit(jax.vmap(transform))(images, keys), jnp.asarray(split.labels))


def judge(
    task: Task,
    model: Model,
    recipe: Recipe,
    data: Data,
    test_sets: Sequence[TestSet],
    keys: Key[Array, " seeds"],
    *,
    num_steps: int,
    num_classes: int,
) -> Judged:
    """Trains a classifier under every key and tests it on every set.

    Args:
        task: The inner problem.
        model: The task's classifier.
        recipe: How it is trained.
        data: The task's data; its outer split is not used.
        test_sets: What it is tested on.
        keys: One for each seed.
        num_steps: Length of a run.
        num_classes: For the accuracy of chance.
    """

    @jax.jit
    def train(data: Data, keys: Key[Array, " seeds"]) -> inner_loop.Run:
        return jax.vmap(lambda key: inner_loop.train(task, recipe, data, num_steps, key))(keys)

    runs = train(data, keys)
    scores = [grade(model, runs.params, test_set.batch) for test_set in test_sets]
    accuracy, loss = (np.stack(parts, axis=1) for parts in zip(*scores, strict=True))
    diverged = np.asarray(runs.diverged)[:, None]
    stretches = np.array_split(np.asarray(runs.losses), min(CURVE_POINTS, num_steps), axis=1)
    return Judged(
        np.where(diverged, 1.0 / num_classes, accuracy),
        np.where(diverged, np.inf, loss),
        diverged[:, 0],
        np.stack([stretch.mean(axis=1) for stretch in stretches], axis=1),
    )


@partial(jax.jit, static_argnames="model")
def grade(
    model: Model, params: Params, batch: Batch
) -> tuple[Float[Array, " classifiers"], Float[Array, " classifiers"]]:
    """Accuracy and mean cross-entropy (nats) of classifiers that lie along the first axis."""

    def one_image(params: Params, image: Array, label: Array) -> tuple[Array, Array]:
        logits = model.apply(params, to_float(image)[None])[0]
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, label)
        return logits.argmax() == label, loss

    def one_classifier(params: Params) -> tuple[Array, Array]:
        right, loss = jax.lax.map(
            lambda pair: one_image(params, *pair), tuple(batch), batch_size=IMAGES_AT_ONCE
        )
        return right.mean(), loss.mean()

    return jax.lax.map(one_classifier, params)


def result_rows(
    contestant: Contestant,
    judged: Judged,
    test_sets: Sequence[TestSet],
    *,
    experiment: str,
    dataset: str,
    model: str,
    meta_seed: int,
    num_steps: int,
) -> list[ResultRow]:
    """The rows of `results.csv` of one optimizer; seeds are numbered from 0."""
    return [
        ResultRow(
            experiment=experiment,
            dataset=dataset,
            model=model,
            optimizer=contestant.name,
            kind=contestant.kind,
            tuned_on=contestant.tuned_on,
            meta_seed=meta_seed,
            corruption=test_set.corruption,
            family=test_set.family,
            severity=test_set.severity,
            strength=test_set.strength,
            role=test_set.role,
            seed=seed,
            num_steps=num_steps,
            accuracy=float(judged.accuracy[seed, index]),
            loss=float(judged.loss[seed, index]),
            diverged=bool(judged.diverged[seed]),
        )
        for seed in range(len(judged.diverged))
        for index, test_set in enumerate(test_sets)
    ]


def curve_points(name: str, judged: Judged, *, num_steps: int) -> list[CurvePoint]:
    """The learning curve of one optimizer, each point at the middle of its stretch."""
    stretches = np.array_split(np.arange(num_steps), judged.curve.shape[1])
    intervals = [mean_interval(losses) for losses in judged.curve.T]
    return [
        CurvePoint(
            name, int(stretch.mean()), interval.mean, interval.low, interval.high, interval.n
        )
        for stretch, interval in zip(stretches, intervals, strict=True)
    ]

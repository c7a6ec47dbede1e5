"""The final evaluation: every optimizer trains the same classifiers, all are tested alike.

Under one seed every optimizer starts from the same weights and sees the same batches, so that
differences are paired, and is tested on the same images. A diverged run counts at chance.
Optimizers that differ in numbers alone share a program.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.stages import Compiled
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from noiseproof import inner_loop
from noiseproof.evaluate.samples import answers, sampled
from noiseproof.evaluate.suites import TestSet
from noiseproof.evaluate.tuning import Tuned
from noiseproof.metatrain.sharding import Placement, as_local, over_runs, replicate, spread
from noiseproof.results import Curves, Interval, Kind, Scores, Trials, mean_interval
from noiseproof.tasks.image_classification import to_float
from noiseproof.types import Batch, Data, Layout, Model, Params, Recipe, Task

IMAGES_AT_ONCE, IMAGES_A_CACHE = 1000, 50
"""Test images in one vectorized call, and on a CPU, whose caches hold the patches of so many."""

NUM_BINS = 15
"""Bins of the calibration error."""

CURVE_POINTS = 25
"""Points of a learning curve, each the mean over a stretch of the run."""

Told: TypeAlias = Callable[[int, int], None]
"""`(done, total)`, called as parts of something are done."""


def not_told(_done: int, _total: int) -> None:
    """Tells nobody."""


class Trained(NamedTuple):
    """How classifiers are trained.

    Attributes:
        task: What they train on.
        recipe_of: `(values, num_steps, layout) -> recipe`; values are traced.
        values: Theta or knobs.
    """

    task: Task
    recipe_of: Callable[[Any, int, Layout], Recipe]
    values: Any


def as_it_is(task: Task, recipe: Recipe) -> Trained:
    """A recipe that has no values, or knows them already."""
    return Trained(task, lambda _values, _num_steps, _layout: recipe, ())


class Contestant(NamedTuple):
    """An optimizer in the final evaluation.

    Attributes:
        name: As in the records.
        kind: As in the records.
        tuned_on: The outer loss that chose its theta or its knobs, in words.
        trained: How it trains: on one task for all but those that augment their images.
        tuned: What its search found; None where there was none.
        outer_loss: On the pools and under the seeds of the searches, in nats; None if not taken.
        knobs: Their values, where they were chosen.
        contains: Names of the contestants whose points its search began from.
    """

    name: str
    kind: Kind
    tuned_on: str
    trained: Trained
    tuned: Tuned | None = None
    outer_loss: float | None = None
    knobs: Mapping[str, float] = MappingProxyType({})
    contains: tuple[str, ...] = ()


class Grades(NamedTuple):
    """What classifiers reach on one test set.

    Attributes:
        accuracy: 0 to 1.
        loss: Mean cross-entropy, in nats.
        calibration_error: Expected calibration error, see `calibration_error`.
    """

    accuracy: Float[Array, " classifiers"]
    loss: Float[Array, " classifiers"]
    calibration_error: Float[Array, " classifiers"]


class Judged(NamedTuple):
    """What an optimizer's classifiers reached.

    Attributes:
        accuracy: On each test set, that of chance where the run diverged.
        loss: Mean cross-entropy in nats, infinite where the run diverged.
        calibration_error: Expected calibration error, NaN where the run diverged.
        diverged: Whether a training loss was not finite.
        curve: Training losses, each the mean over a stretch of the run.
        said: The classes that the first classifier took the samples for, -1 where it diverged.
        train_seconds: Wall-clock seconds a classifier, all trained at once, compiling left out.
        train_bytes: Memory a classifier, its data left out; None where it is not known.
    """

    accuracy: Float[np.ndarray, "seeds sets"]
    loss: Float[np.ndarray, "seeds sets"]
    calibration_error: Float[np.ndarray, "seeds sets"]
    diverged: Bool[np.ndarray, " seeds"]
    curve: Float[np.ndarray, "seeds points"]
    said: Int[np.ndarray, "shown images"]
    train_seconds: float
    train_bytes: int | None


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
    placement: Placement,
) -> Judged:
    """Trains a classifier under every key and tests it on every set; see `judge_all`."""
    return judge_all(
        [as_it_is(task, recipe)],
        *(model, data, lambda: test_sets, keys),
        layout=(),
        num_steps=num_steps,
        num_classes=num_classes,
        placement=placement,
    )[0]


def judge_all(
    trained: Sequence[Trained],
    model: Model,
    data: Data,
    test_sets: Callable[[], Sequence[TestSet]],
    keys: Key[Array, " seeds"],
    *,
    layout: Layout,
    num_steps: int,
    num_classes: int,
    placement: Placement,
    on_compiled: Told = not_told,
    on_judged: Told = not_told,
) -> list[Judged]:
    """Trains a classifier by every recipe under every key and tests it on every set.

    Programs are compiled side by side, as many as there are cores, while the test sets are made;
    and run one after another. Recipes of one `recipe_of` on one task share a program.

    Args:
        trained: The inner problems, all of this classifier and these data, and how each is trained.
        model: The tasks' classifier.
        data: The tasks' data; their outer split is not used.
        test_sets: Makes what it is tested on; called once.
        keys: One for each seed.
        layout: Of the classifier's weights, as recipes take it.
        num_steps: Length of a run.
        num_classes: For the accuracy of chance.
        placement: Where seeds are trained.
        on_compiled: `(done, total)`, called as programs are compiled.
        on_judged: `(done, total)`, called as recipes are judged.
    """
    data = replicate(data, placement.mesh)
    trained = [one._replace(values=as_arguments(one.values, placement)) for one in trained]
    kinds = {kind_of(one): one for one in reversed(trained)}

    def compiled_for(one: Trained) -> Compiled:
        return training(one, data, keys, layout=layout, num_steps=num_steps, placement=placement)

    compiled: dict[tuple[int, int], Compiled] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        programs = pool.map(compiled_for, kinds.values())
        sets = test_sets()
        for kind, program in zip(kinds, programs, strict=True):
            compiled[kind] = program
            on_compiled(len(compiled), len(kinds))
    found: list[Judged] = []
    for one in trained:
        program = compiled[kind_of(one)]
        found.append(
            judged(
                program,
                *(one.values, model, data, sets, keys),
                num_classes=num_classes,
                placement=placement,
            )
        )
        on_judged(len(found), len(trained))
    return found


def kind_of(one: Trained) -> tuple[int, int]:
    """The same for those that share a program."""
    return id(one.task), id(one.recipe_of)


def as_arguments(values: Any, placement: Placement) -> Any:
    """Theta or knobs as a program takes them."""
    dtype = jnp.result_type(float)
    return replicate(jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), values), placement.mesh)


def training(
    one: Trained,
    data: Data,
    keys: Key[Array, " seeds"],
    *,
    layout: Layout,
    num_steps: int,
    placement: Placement,
) -> Compiled:
    """What trains a classifier under every key, `(values, data, keys)`, compiled."""

    @jax.jit
    def train(values: Any, data: Data, keys: Key[Array, " seeds"]) -> inner_loop.Run:
        def one_run(shared: tuple[Any, Data], key: PRNGKeyArray) -> inner_loop.Run:
            values, data = shared
            recipe = one.recipe_of(values, num_steps, layout)
            return inner_loop.train(one.task, recipe, data, num_steps, key)

        return over_runs(one_run, len(keys), placement)((values, data), keys)

    return train.lower(one.values, data, keys).compile()


def judged(
    program: Compiled,
    values: Any,
    model: Model,
    data: Data,
    test_sets: Sequence[TestSet],
    keys: Key[Array, " seeds"],
    *,
    num_classes: int,
    placement: Placement,
) -> Judged:
    """What the classifiers that a program trains by these values reach on every set."""
    num_devices = placement.mesh.size if placement.mesh else 1
    began = time.perf_counter()
    runs = jax.block_until_ready(program(values, data, keys))
    seconds = time.perf_counter() - began
    params = as_local(runs.params) if placement.mesh else runs.params
    scores = [grade(model, params, test_set.batch) for test_set in test_sets]
    accuracy, loss, calibration = (np.stack(parts, axis=1) for parts in zip(*scores, strict=True))
    diverged = np.asarray(runs.diverged)[:, None]
    stretches = np.array_split(
        np.asarray(runs.losses), min(CURVE_POINTS, runs.losses.shape[1]), axis=1
    )
    return Judged(
        accuracy=np.where(diverged, 1.0 / num_classes, accuracy),
        loss=np.where(diverged, np.inf, loss),
        calibration_error=np.where(diverged, np.nan, calibration),
        diverged=diverged[:, 0],
        curve=np.stack([stretch.mean(axis=1) for stretch in stretches], axis=1),
        said=np.where(diverged[0], -1, answers(model, params, sampled(test_sets))),
        train_seconds=seconds / len(keys),
        train_bytes=memory_of(program, -(-len(keys) // num_devices)),
    )


def memory_of(compiled: Compiled, num_runs: int) -> int | None:
    """Bytes that a compiled program needs beside its arguments, a run; None if JAX can not say."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    return (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) // num_runs


def grade(model: Model, params: Params, batch: Batch) -> Grades:
    """Scores of classifiers that lie along the first axis, on one test set."""
    # Means over devices would make them wait for each other, which few cores can not.
    found = as_local(predicted(model, params, batch))
    right, losses, confidence = (
        part.swapaxes(0, 1).reshape(part.shape[1], -1)[:, : len(batch.labels)] for part in found
    )
    return grades(right, losses, confidence)


@partial(jax.jit, static_argnames="model")
def predicted(model: Model, params: Params, batch: Batch) -> tuple[Array, Array, Array]:
    """Whether an image is classified rightly, its loss and the confidence, `[stretches classifiers
    images]`: stretches of images are spread over all devices."""
    num_images = len(batch.labels)
    most = IMAGES_A_CACHE if jax.default_backend() == "cpu" else IMAGES_AT_ONCE
    at_once = min(most, num_images)
    num_stretches = -(-num_images // at_once)
    # The last stretch is filled up from the beginning.
    index = np.arange(num_stretches * at_once).reshape(num_stretches, at_once) % num_images

    def one_stretch(params: Params, images: Batch) -> tuple[Array, Array, Array]:
        def one_classifier(params: Params) -> tuple[Array, Array, Array]:
            logits = model.apply(params, to_float(images.images))
            losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, images.labels)
            right = logits.argmax(axis=1) == images.labels
            return right, losses, jax.nn.softmax(logits).max(axis=1)

        return jax.lax.map(one_classifier, params)

    placement = spread(Placement(in_turn=True), num_stretches)
    stretches = jax.tree.map(lambda leaf: jnp.asarray(leaf)[index], batch)
    return over_runs(one_stretch, num_stretches, placement)(params, stretches)


@jax.jit
def grades(
    right: Bool[Array, "classifiers images"],
    losses: Float[Array, "classifiers images"],
    confidence: Float[Array, "classifiers images"],
) -> Grades:
    """What predictions are worth."""
    errors = jax.vmap(calibration_error)(right, confidence)
    return Grades(right.mean(axis=1), losses.mean(axis=1), errors)


def calibration_error(
    right: Bool[Array, " images"], confidence: Float[Array, " images"]
) -> Float[Array, ""]:
    """How far confidence is from accuracy, on average over bins of equal width.

    C. Guo and others, 2017, arXiv 1706.04599: predictions are sorted into bins, open on the left,
    by the probability of the predicted class; bins count by the predictions in them.
    """
    index = jnp.clip(jnp.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = jax.ops.segment_sum(right - confidence, index, NUM_BINS)
    return jnp.abs(gaps).sum() / len(right)


def scores(judged: Sequence[Judged], *, num_images: int) -> Scores:
    """The scores of a record, of several optimizers in this order."""
    diverged = np.stack([reached.diverged for reached in judged])
    accuracy, loss, calibration = (
        np.stack([getattr(reached, name).T for reached in judged])
        for name in ("accuracy", "loss", "calibration_error")
    )
    right = np.where(diverged[:, None], 0, np.rint(accuracy * num_images)).astype(np.int64)
    return Scores(right, loss, calibration, diverged)


def trials(contestants: Sequence[Contestant]) -> Trials:
    """How the contestants of a record were tuned."""
    searches = [one.tuned for one in contestants]

    def rows(columns: Sequence[Sequence[float]], beyond: float) -> Float[np.ndarray, "rows most"]:
        most = max(map(len, columns), default=0)
        return np.array([[*column, *[beyond] * (most - len(column))] for column in columns], float)

    losses, rounds, finals = (
        [getattr(tuned, name) if tuned else [] for tuned in searches]
        for name in ("outer_losses", "rounds", "final_losses")
    )
    numbers = rows(rounds, -1).astype(np.int64)
    return Trials(rows(losses, np.nan), numbers, rows(finals, np.nan))


def curves(judged: Sequence[Judged], *, num_steps: int) -> Curves:
    """The learning curves of a record, each point at the middle of its stretch.

    A point is the mean of the runs that had not diverged by then; NaN where all had.
    """
    stretches = np.array_split(np.arange(num_steps), judged[0].curve.shape[1])

    def point(losses: Float[np.ndarray, " seeds"]) -> Interval:
        finite = losses[np.isfinite(losses)]
        return mean_interval(finite) if finite.size else Interval(np.nan, np.nan, np.nan, 0)

    intervals = [[point(losses) for losses in reached.curve.T] for reached in judged]
    curve, low, high = (
        np.array([[getattr(interval, name) for interval in row] for row in intervals])
        for name in ("mean", "low", "high")
    )
    return Curves(np.array([int(stretch.mean()) for stretch in stretches]), curve, low, high)

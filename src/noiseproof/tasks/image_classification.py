"""Image classification: train on clean images, be judged on corrupted ones.

The outer loss is taken on a pool of outer images that is corrupted afresh once an outer step
and shared by all particles and steps: drawing noise costs as much as the gradient of a small
classifier, gathering from a pool costs next to nothing, and both runs of an antithetic pair see
the same noise without further care.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar, Shaped, UInt32

from noiseproof.tasks.mixtures import Component, mix, pool_sizes, shares
from noiseproof.tasks.outer_losses import OuterLoss
from noiseproof.tasks.regularization import regularized_cross_entropy
from noiseproof.types import Batch, Model, Params, Regularization, Task

AUGMENTATION, DROPOUT, CALIBRATION = 1000, 1001, 1002
"""Folds of a batch's key that are drawn from beside the batch, which takes the first few."""

NUM_CALIBRATION_IMAGES = 512
"""Clean training images on which the statistics of norms over the batch are measured."""


class Classification(NamedTuple):
    """What a task of images is about. Attributes: `model`, the classifier; `outer_loss`."""

    model: Model
    outer_loss: OuterLoss


class TaskData(NamedTuple):
    """What one inner problem may see. There is no place for the test split.

    Attributes:
        inner: Split that inner training draws from, images uint8.
        outer: Split that `Task.refresh` draws the pool from, images uint8; None where no other
            pool is wanted.
        pool: Corrupted outer images, float, all that the meta-loss sees; None until `Task.refresh`
            draws it.
    """

    inner: Batch
    outer: Batch | None
    pool: Batch | None = None


def to_float(images: Shaped[Array, "..."]) -> Float[Array, "..."]:
    """Pixels as floats in [0, 1]; float images pass unchanged."""
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    return images.astype(jnp.float32) / 255.0


def draw_below(
    limit: UInt32[ArrayLike, "..."], num_draws: int, key: PRNGKeyArray
) -> UInt32[Array, " num_draws"]:
    """Whole numbers from 0, below a limit, which is one for all or one for each.

    One draw of bits, of which `jax.random.randint` takes two and compiles to far more; the price is
    a bias of the limit over 2^32, about one in 100,000 for 50,000 images.
    """
    return jax.random.bits(key, (num_draws,), jnp.uint32) % limit


def draw_batch(split: Batch, batch_size: int, key: PRNGKeyArray) -> Batch:
    """Draws `batch_size` images with replacement, as floats."""
    index = draw_below(jnp.uint32(split.labels.shape[0]), batch_size, key)
    # Rows of flat images: of images with one channel XLA finds a layout that is slow to gather.
    rows = split.images.reshape(split.images.shape[0], -1)[index]
    images = to_float(rows).reshape(batch_size, *split.images.shape[1:])
    return Batch(images, split.labels[index])


def cross_entropy(model: Model, params: Params, batch: Batch) -> Scalar:
    """Mean cross-entropy of a batch, in nats."""
    return cross_entropies(model, params, batch).mean()


def cross_entropies(model: Model, params: Params, batch: Batch) -> Float[Array, " batch"]:
    """Cross-entropy of each image, in nats."""
    logits = model.apply(params, batch.images)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch.labels)


def image_classification(
    model: Model,
    *,
    batch_size: int = 64,
    outer_loss: OuterLoss,
    outer_batch_size: int = 64,
    pool_size: int = 2048,
    augmentation: Sequence[Component] = (),
) -> Task:
    """A task whose data are `TaskData`.

    Args:
        model: The classifier.
        batch_size: Images of `data.inner` a training step.
        outer_loss: The mixture that the meta-loss is taken over.
        outer_batch_size: Images of the pool for one evaluation of the meta-loss.
        pool_size: Images of `data.outer` that `refresh` corrupts.
        augmentation: The mixture that training images are put through; none leaves them clean.

    Raises:
        ValueError: A size is not positive or too small for the mixture, or the mixture is empty or
            badly weighted.
    """
    components = outer_loss.components
    for name, size in (("batch_size", batch_size), ("outer_batch_size", outer_batch_size)):
        if size < 1:
            raise ValueError(f"{name} must be positive, got {size}.")
    if augmentation:
        pool_sizes(augmentation, batch_size, "batch_size")
    sizes = pool_sizes(components, pool_size)
    batch_sizes = pool_sizes(components, outer_batch_size, "outer_batch_size")
    ends = np.cumsum(sizes)
    # Every batch has each component's share of images, drawn from its own stretch of the pool.
    first, behind = (
        np.repeat(place, batch_sizes).astype(np.uint32) for place in (ends - sizes, ends)
    )

    training_model = model._replace(apply=model.apply_train or model.apply)

    def training_batch(data: TaskData, key: PRNGKeyArray) -> Batch:
        batch = draw_batch(data.inner, batch_size, key)
        if not augmentation:
            return batch
        return batch._replace(
            images=mix(augmentation, batch.images, jax.random.fold_in(key, AUGMENTATION))
        )

    def loss(params: Params, data: TaskData, key: PRNGKeyArray) -> Scalar:
        return cross_entropy(training_model, params, training_batch(data, key))

    def regularized_loss(
        params: Params, data: TaskData, regularization: Regularization, key: PRNGKeyArray
    ) -> Scalar:
        batch = training_batch(data, key)
        return regularized_cross_entropy(
            training_model, params, batch, regularization, jax.random.fold_in(key, DROPOUT)
        )

    def finish(params: Params, data: TaskData, key: PRNGKeyArray) -> Params:
        if model.calibrate is None:
            return params
        drawn_under = jax.random.fold_in(key, CALIBRATION)
        seen = draw_batch(data.inner, NUM_CALIBRATION_IMAGES, drawn_under)
        return model.calibrate(params, seen.images)

    def meta_loss(params: Params, data: TaskData, key: PRNGKeyArray) -> Scalar:
        if data.pool is None:
            raise ValueError("The data have no pool yet: call task.refresh(data, key) first.")
        params = finish(params, data, key)
        index = first + draw_below(behind - first, outer_batch_size, key)
        batch = Batch(data.pool.images[index], data.pool.labels[index])
        parts = jnp.split(cross_entropies(model, params, batch), np.cumsum(batch_sizes)[:-1])
        losses = jnp.stack([part.mean() for part in parts])
        return (losses * shares(components)).sum()

    def refresh(data: TaskData, key: PRNGKeyArray) -> TaskData:
        if data.outer is None:
            raise ValueError("The data have no outer split, which a pool is drawn from.")
        draw_key, corrupt_key = jax.random.split(key)
        clean = draw_batch(data.outer, pool_size, draw_key)
        return data._replace(pool=Batch(mix(components, clean.images, corrupt_key), clean.labels))

    about = Classification(model, outer_loss)
    return Task(model.init, loss, meta_loss, refresh, regularized_loss, finish, about)


def with_pools_alone(task: Task) -> Task:
    """The same task, whose `refresh` gives data without their outer split.

    Runs read the pool alone. Without splits, which may differ in size, data are alike in shape and
    share a program, whichever split their pool was drawn from.
    """

    def refresh(data: TaskData, key: PRNGKeyArray) -> TaskData:
        return task.refresh(data, key)._replace(outer=None)

    return task._replace(refresh=refresh)

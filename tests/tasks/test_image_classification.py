"""Which images reach which loss.

An image here is one level of grey throughout, and its level says from which split it is and what
its label is: those of `inner` are below 100, of `outer` above, and label 3 is level 3 or 103.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.tasks.image_classification import (
    TaskData,
    cross_entropy,
    draw_batch,
    image_classification,
    to_float,
    with_pools_alone,
)
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Model, Regularization

NUM_CLASSES = 10
SHAPE = (4, 4, 1)
KEY = jax.random.key(1)


def marked_split(first_level, num_images=200):
    labels = np.arange(num_images) % NUM_CLASSES
    images = np.broadcast_to(first_level + labels[:, None, None, None], (num_images, *SHAPE))
    return Batch(jnp.array(images, jnp.uint8), jnp.array(labels, jnp.int32))


DATA = TaskData(marked_split(0), marked_split(100))


def levels_of(images):
    """The level of each image, which must be the same everywhere in it."""
    flat = np.asarray(images).reshape(len(images), -1) * 255.0
    assert np.ptp(flat, axis=1).max() < 1e-3
    return flat[:, 0]


def level_model():
    """Logits are minus the distance of an image's level from each class's, above 100 or below.

    With `at` the first level of a split, the right class is certain; with another all are equal.
    """

    def apply(params, images):
        levels = 255.0 * images.mean(axis=(1, 2, 3))
        distance = jnp.abs(levels[:, None] - params["at"] - jnp.arange(NUM_CLASSES))
        return -100.0 * jnp.minimum(distance, 1.0)

    return Model(lambda _key: {"at": jnp.zeros(())}, apply)


def build(model=None, **changed):
    options = {
        "batch_size": 16,
        "outer_batch_size": 16,
        "outer_loss": mixture(Component(1.0, clean)),
        "pool_size": 64,
    }
    task = image_classification(model or level_model(), **{**options, **changed})
    losses = ("loss", "regularized_loss", "meta_loss", "refresh")
    # A model of a test's own takes down what it sees, which compiled programs would not show.
    return (
        task if model else task._replace(**{name: jax.jit(getattr(task, name)) for name in losses})
    )


INNER, OUTER = {"at": jnp.array(0.0)}, {"at": jnp.array(100.0)}
UNKNOWN = pytest.approx(np.log(NUM_CLASSES), rel=1e-4)


def test_there_is_no_place_for_a_test_split():
    assert TaskData._fields == ("inner", "outer", "pool")


def test_training_sees_inner_images_and_judging_outer_ones():
    """Catches a split in the other's place: its model would know none of the images."""
    task = build()
    data = task.refresh(DATA, KEY)
    assert float(task.loss(INNER, data, KEY)) == pytest.approx(0.0, abs=1e-3)
    assert float(task.loss(OUTER, data, KEY)) == UNKNOWN
    assert float(task.meta_loss(OUTER, data, KEY)) == pytest.approx(0.0, abs=1e-3)
    assert float(task.meta_loss(INNER, data, KEY)) == UNKNOWN


def test_a_regularized_loss_is_that_of_the_same_batch():
    """Half a level off, only label 0 is told from its lower neighbor: the loss counts them."""
    task, between = build(), {"at": jnp.array(0.5)}
    losses = [float(task.loss(between, DATA, jax.random.key(seed))) for seed in range(8)]
    assert len(np.unique(losses)) > 2
    for seed, loss in enumerate(losses):
        key, smoothing = jax.random.key(seed), Regularization(label_smoothing=0.0)
        assert float(task.regularized_loss(between, DATA, smoothing, key)) == pytest.approx(loss)
    smoothed = task.regularized_loss(INNER, DATA, Regularization(label_smoothing=0.2), KEY)
    # A fifth of each label is spread over ten classes, nine of which have a logit of -100.
    assert float(smoothed) == pytest.approx(0.2 * 0.9 * 100.0, rel=1e-4)


def test_training_images_are_put_through_the_augmentation_and_no_others():
    """A hundred levels brighter, inner images look like outer ones, which here are left alone."""
    task = build(augmentation=[Component(1.0, shifted(100))])
    data = task.refresh(DATA, KEY)
    assert float(task.loss(OUTER, data, KEY)) == pytest.approx(0.0, abs=1e-3)
    assert float(task.loss(INNER, data, KEY)) == UNKNOWN
    assert float(task.regularized_loss(OUTER, data, Regularization(), KEY)) < 1e-3
    assert float(task.meta_loss(OUTER, data, KEY)) == pytest.approx(0.0, abs=1e-3)


def test_an_augmentation_is_a_mixture_of_the_same_batch():
    """A quarter of the batch stays clean; the rest is unknown to the model of clean images."""
    parts = [Component(1.0, clean), Component(3.0, shifted(100))]
    found = float(build(augmentation=parts).loss(INNER, DATA, KEY))
    assert found == pytest.approx(0.75 * np.log(NUM_CLASSES), rel=1e-4)


def test_every_training_image_has_a_draw_of_its_own():
    def noise(image, key):
        return jnp.full_like(image, jax.random.uniform(key))

    seen = []

    def apply(params, images):
        seen.append(images)
        return jnp.zeros((len(images), NUM_CLASSES))

    task = build(Model(lambda _key: (), apply), augmentation=[Component(1.0, noise)])
    for seed in (0, 1):
        task.loss((), DATA, jax.random.key(seed))
    assert len(np.unique(levels_of(jnp.concatenate(seen)))) == 32


def test_an_augmentation_needs_an_image_for_every_component():
    with pytest.raises(ValueError, match="batch_size must be at least 17, got 16"):
        build(augmentation=[Component(1.0, clean)] * 17)


def test_units_are_left_out_by_draws_of_their_own():
    """Catches dropout under the key of the batch, whose draws would be tied to the images."""
    seen = []

    def apply_dropout(params, images, rate, key):
        seen.append(key)
        return images[:, 0, 0, :] * jnp.ones(NUM_CLASSES)

    model = level_model()._replace(apply_dropout=apply_dropout)
    task = build(model=model)
    task.regularized_loss(INNER, DATA, Regularization(dropout=0.5), KEY)
    folds = [KEY, *(jax.random.fold_in(KEY, fold) for fold in range(2)), *jax.random.split(KEY)]
    assert all((jax.random.key_data(seen[0]) != jax.random.key_data(key)).any() for key in folds)


def test_the_pool_is_outer_images_with_their_labels():
    pool = build().refresh(DATA, KEY).pool
    levels = levels_of(pool.images)
    assert pool.images.shape == (64, *SHAPE)
    assert jnp.issubdtype(pool.images.dtype, jnp.floating)
    np.testing.assert_allclose(levels, 100 + np.asarray(pool.labels), atol=1e-3)
    assert len(np.unique(levels)) == NUM_CLASSES


def test_refreshing_leaves_the_splits_and_draws_anew():
    task = build()
    data = task.refresh(DATA, KEY)
    for part in ("inner", "outer"):
        jax.tree.map(np.testing.assert_array_equal, getattr(data, part), getattr(DATA, part))
    again, other = task.refresh(data, KEY), task.refresh(data, jax.random.key(2))
    jax.tree.map(np.testing.assert_array_equal, again, data)
    assert not np.array_equal(other.pool.labels, data.pool.labels)


def shifted(amount):
    """Brighter by some levels, which tell the component that did it."""
    return lambda image, _key: image + amount / 255.0


def test_components_have_their_shares_of_the_pool():
    """A quarter clean, and three quarters 50 levels brighter, labels unharmed."""
    task = build(outer_loss=mixture(Component(1.0, clean), Component(3.0, shifted(50))))
    pool = task.refresh(DATA, KEY).pool
    moved = levels_of(pool.images) - 100 - np.asarray(pool.labels)
    np.testing.assert_allclose(np.sort(moved), [0] * 16 + [50] * 48, atol=1e-3)


MIXED = [Component(1.0, shifted(-100)), Component(3.0, clean)]
"""Images of the first are unknown to a model of the outer split, those of the second known."""


@pytest.mark.parametrize("num_images", [4, 16, 18])
def test_the_meta_loss_is_the_weighted_mean_of_its_components(num_images):
    """Exactly, in any batch: 18 images are 4 and 14, not a quarter, and yet count as one."""
    task = build(outer_batch_size=num_images, outer_loss=mixture(*MIXED))
    data = task.refresh(DATA, KEY)
    expected = np.log(NUM_CLASSES) / 4
    assert float(task.meta_loss(OUTER, data, KEY)) == pytest.approx(expected, rel=1e-4)


def test_batches_are_drawn_from_the_whole_stretch_of_a_component():
    """All 64 images of the pool come up in 200 batches; one is missed with chance 64 · e^-50."""
    seen = set()

    def remember(images):
        seen.update(np.asarray(images[:, 0, 0, 0]).tolist())

    def apply(params, images):
        jax.debug.callback(remember, images)
        return jnp.zeros((len(images), NUM_CLASSES))

    def numbered(image, key):
        return jnp.full_like(image, jax.random.uniform(key))

    parts = [Component(1.0, numbered), Component(3.0, numbered)]
    model = Model(lambda _key: (), apply)
    task = image_classification(
        model, batch_size=4, outer_batch_size=16, outer_loss=mixture(*parts), pool_size=64
    )
    data = task.refresh(DATA, KEY)
    for key in jax.random.split(KEY, 200):
        task.meta_loss((), data, key)
    jax.effects_barrier()
    assert seen == set(np.asarray(data.pool.images[:, 0, 0, 0]).tolist())


def test_every_image_of_the_pool_has_a_draw_of_its_own():
    """Catches one key for all images, and one for all components."""

    def noise(image, key):
        return jnp.full_like(image, jax.random.uniform(key))

    task = build(outer_loss=mixture(Component(1.0, noise), Component(1.0, noise)))
    assert len(np.unique(levels_of(task.refresh(DATA, KEY).pool.images))) == 64


def test_pools_alone_of_splits_of_any_size_are_alike_in_shape():
    """Or a search compiles a second program for its finalists. Runs see what they saw."""
    task, alone = build(), with_pools_alone(build())
    kept, whole = alone.refresh(DATA, KEY), task.refresh(DATA, KEY)
    other = alone.refresh(DATA._replace(outer=marked_split(100, num_images=70)), KEY)
    assert jax.tree.map(jnp.shape, kept) == jax.tree.map(jnp.shape, other)
    assert float(alone.meta_loss(OUTER, kept, KEY)) == float(task.meta_loss(OUTER, whole, KEY))
    with pytest.raises(ValueError, match="no outer split, which a pool is drawn from"):
        task.refresh(kept, KEY)


def test_without_a_pool_there_is_no_meta_loss():
    with pytest.raises(ValueError, match=r"no pool yet: call task\.refresh\(data, key\) first"):
        build().meta_loss(OUTER, DATA, KEY)


@pytest.mark.parametrize("name", ["batch_size", "outer_batch_size"])
def test_batches_must_hold_something(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        build(**{name: 0})


def test_mixtures_are_checked_where_the_task_is_built():
    with pytest.raises(ValueError, match="at least one component, got none"):
        build(outer_loss=mixture())
    with pytest.raises(ValueError, match="pool_size must be at least 1, got 0"):
        build(pool_size=0)


def test_batches_are_drawn_evenly_and_with_replacement():
    """Of 4 images in 4,000 draws each has 1,000 ± four std, √(4000 · 3/16)."""
    split = Batch(jnp.arange(4, dtype=jnp.uint8)[:, None, None, None], jnp.arange(4))
    batch = draw_batch(split, 4000, KEY)
    np.testing.assert_allclose(batch.images.ravel() * 255.0, batch.labels, atol=1e-5)
    counts = np.bincount(batch.labels, minlength=4)
    assert np.abs(counts - 1000).max() < 4 * (4000 * 3 / 16) ** 0.5


def test_pixels_become_floats_once():
    np.testing.assert_allclose(to_float(jnp.array([0, 51, 255], jnp.uint8)), [0.0, 0.2, 1.0])
    already = jnp.array([0.0, 0.5, 1.2])
    assert to_float(already) is already


def test_cross_entropy_at_known_logits():
    """In nats: half the images certain and right, half with odds of three to one against."""
    model = Model(lambda _key: (), lambda _params, images: images[:, 0, 0, :])
    logits = jnp.array([[1000.0, 0.0], [np.log(3.0), 0.0]])[:, None, None, :]
    loss = cross_entropy(model, (), Batch(logits, jnp.array([0, 1])))
    assert float(loss) == pytest.approx(np.log(4.0) / 2, rel=1e-5)

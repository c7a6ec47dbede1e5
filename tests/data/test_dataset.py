"""Splits are disjoint, fixed and balanced; shrinking is the block mean."""

import numpy as np
import pytest

from noiseproof.data.dataset import (
    Source,
    image_shape,
    resize,
    shrink,
    split,
    stratified_order,
    subset,
)
from noiseproof.types import Batch


def numbered_images(num_images: int, *, num_classes: int = 10) -> Batch:
    """Images that carry their own number in two pixels, so that they can be told apart."""
    numbers = np.arange(num_images)
    pixels = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
    return Batch(pixels.reshape(-1, 1, 2, 1), (numbers % num_classes).astype(np.int32))


def numbers_of(batch: Batch) -> list[int]:
    pixels = batch.images.reshape(-1, 2).astype(int)
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()


def numbered_source(num_images: int, num_test: int = 20, num_classes: int = 10) -> Source:
    train = numbered_images(num_images, num_classes=num_classes)
    test = numbered_images(num_test, num_classes=num_classes)
    return Source("numbered", train=train, test=test, num_classes=num_classes)


def test_training_images_go_to_exactly_one_split():
    dataset = split(numbered_source(1_003))
    parts = (dataset.train, dataset.outer, dataset.select)
    numbers = [number for part in parts for number in numbers_of(part)]
    assert sorted(numbers) == list(range(1_003))


def test_small_sets_give_a_fifth_and_a_seventh():
    dataset = split(numbered_source(1_400))
    assert len(dataset.outer.labels) == 280
    assert len(dataset.select.labels) == 200
    assert len(dataset.train.labels) == 920


def test_large_sets_give_five_thousand_each():
    dataset = split(numbered_source(50_000))
    assert len(dataset.outer.labels) == len(dataset.select.labels) == 5_000
    assert len(dataset.train.labels) == 40_000


def test_labels_stay_with_their_images():
    dataset = split(numbered_source(1_000))
    for part in (dataset.train, dataset.outer, dataset.select):
        assert part.labels.tolist() == [number % 10 for number in numbers_of(part)]


def test_the_published_test_set_is_left_alone():
    source = numbered_source(1_000)
    assert split(source).test is source.test


def test_every_beginning_of_the_order_is_balanced():
    labels = np.repeat([0, 1, 2], [600, 300, 100]).astype(np.int32)
    order = stratified_order(labels)
    for length in (10, 50, 500):
        counts = np.bincount(labels[order[:length]], minlength=3)
        # Evenly spread classes are never more than one image off their share.
        assert np.abs(counts - length * np.array([0.6, 0.3, 0.1])).max() <= 1


def test_the_order_within_a_class_is_shuffled():
    order = stratified_order(np.zeros(1_000, np.int32))
    assert sorted(order.tolist()) == list(range(1_000))
    # The correlation of a random order with the file's order has standard error 1/sqrt(999).
    assert abs(np.corrcoef(order, np.arange(1_000))[0, 1]) < 4 / np.sqrt(999)


def test_the_cut_never_changes():
    # Pinned, because all published numbers stand on this cut.
    assert stratified_order(np.array([0, 1] * 5, np.int32)).tolist() == [
        3,
        6,
        0,
        9,
        4,
        5,
        1,
        8,
        2,
        7,
    ]


def test_the_cut_ignores_the_global_random_state():
    np.random.seed(1)
    first = stratified_order(np.zeros(50, np.int32))
    np.random.seed(2)
    np.testing.assert_array_equal(first, stratified_order(np.zeros(50, np.int32)))


def test_too_few_images_to_split():
    with pytest.raises(
        ValueError, match=r"at least 70 training images for its 10 classes.* got 69"
    ):
        split(numbered_source(69))


def test_no_test_images():
    with pytest.raises(ValueError, match="numbered must have test images, got none"):
        split(numbered_source(100, num_test=0))


def test_image_shape():
    assert image_shape(split(numbered_source(100))) == (1, 2, 1)


@pytest.mark.parametrize(("size", "factor"), [(14, 2), (7, 4), (28, 1), (1, 28)])
def test_shrink_is_the_rounded_block_mean(size: int, factor: int):
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 3), dtype=np.uint8)
    blocks = images.reshape(5, size, factor, size, factor, 3).astype(float)
    expected = np.floor(blocks.mean((2, 4)) + 0.5)
    small = shrink(images, size)
    assert small.dtype == np.uint8
    assert small.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(small, expected)


@pytest.mark.parametrize("size", [1, 2])
def test_the_largest_sums_do_not_overflow(size: int):
    # A factor of 16 is the last that is summed in two bytes.
    assert (shrink(np.full((1, 32, 32, 3), 255, np.uint8), size) == 255).all()


@pytest.mark.parametrize("size", [0, 3, 8, 56, -14])
def test_sizes_that_no_whole_factor_reaches(size: int):
    images = np.zeros((1, 28, 28, 1), np.uint8)
    with pytest.raises(ValueError, match=f"one of 28, 14, 7, 4, 2, 1, got {size}"):
        shrink(images, size)


def test_both_sides_must_divide():
    with pytest.raises(ValueError, match="one of 28, 4, got 14"):
        shrink(np.zeros((1, 28, 21, 1), np.uint8), 14)


def test_resize_shrinks_train_and_test():
    images = np.zeros((3, 28, 28, 1), np.uint8)
    batch = Batch(images, np.zeros(3, np.int32))
    small = resize(Source("grey", train=batch, test=batch, num_classes=1), 14)
    assert small.train.images.shape == small.test.images.shape == (3, 14, 14, 1)
    assert small.train.labels is batch.labels


def test_a_subset_has_the_first_classes_and_few_training_images():
    """Catches a split that keeps all classes, and training images of one class alone."""
    whole = split(numbered_source(1_003))
    found = subset(whole, num_classes=3, num_images=30)
    assert found.num_classes == 3
    for part in (found.train, found.outer, found.select, found.test):
        assert set(part.labels.tolist()) == {0, 1, 2}
    assert np.bincount(found.train.labels).tolist() == [10, 10, 10]
    assert len(found.outer.labels) == (whole.outer.labels < 3).sum()
    assert subset(whole) == whole
    with pytest.raises(ValueError, match=r"num_classes must lie in \[2, 10\] for numbered, got 1"):
        subset(whole, num_classes=1)

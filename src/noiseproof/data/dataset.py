"""What a data set is: the source that a reader returns, and the four splits that runs see.

`train` is what classifiers learn from, `outer` what meta-training and every rival's tuning are
scored on, `select` what chooses among finished candidates, `test` what the final evaluation sees
once. `test` is the published test set; `outer` and `select` are cut from the published training
set. The cut is part of the data set, not of a run: it is made with a seed of this package, never
with the run's, so that everyone who names a data set has the same four splits.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32, UInt8

from noiseproof.types import Batch

SPLIT_SEED = 190603367
"""Seed of every cut, the arXiv number of Metz et al. (2019)."""

MAX_HELD_OUT = 5_000
"""Images of `outer`, and of `select`, at most: what CIFAR-10 and the MNIST family get."""

MAX_TEST = 10_000
"""Images at most that are set aside for testing where a data set has none."""

OUTER_PART, SELECT_PART = 5, 7
"""Small sets give a fifth of the training images to `outer` and a seventh to `select`."""


class Source(NamedTuple):
    """A data set as published.

    Attributes:
        name: The name of the data set.
        train: The published training set, numpy arrays: images uint8 (0 to 255)
            `[batch height width channels]`, contiguous, one channel for grey; labels int32.
        test: The published test set, likewise.
        num_classes: Labels are 0 to `num_classes - 1`.
        notices: What the reader assumed, a line each.
    """

    name: str
    train: Batch
    test: Batch
    num_classes: int
    notices: tuple[str, ...] = ()


class Dataset(NamedTuple):
    """A data set as used, in four disjoint splits of numpy arrays (uint8 images, int32 labels).

    Attributes:
        name: The name of the data set.
        num_classes: Labels are 0 to `num_classes - 1`.
        train: Inner training.
        outer: The outer loss, and every rival's tuning loss.
        select: The final choice among candidates.
        test: The final evaluation, and nothing else.
        notices: What the reader assumed, a line each, for whoever reads the data to print.
    """

    name: str
    num_classes: int
    train: Batch
    outer: Batch
    select: Batch
    test: Batch
    notices: tuple[str, ...] = ()


def image_shape(dataset: Dataset) -> tuple[int, int, int]:
    """Height, width and channels of the images."""
    height, width, channels = dataset.train.images.shape[1:]
    return height, width, channels


def fingerprint(*splits: Batch) -> str:
    """A SHA-256 of the shapes, pixels and labels of splits, in hexadecimal digits."""
    digest = hashlib.sha256()
    for part in (part for batch in splits for part in batch):
        digest.update(f"{part.dtype} {part.shape};".encode())
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def split(source: Source) -> Dataset:
    """Cuts `outer` and `select` from the training set, every class in its share.

    `outer` gets a fifth of the training images and `select` a seventh, at most 5,000 each.

    Raises:
        ValueError: There are fewer than 7 training images per class, or no test images.
    """
    num_images = len(source.train.labels)
    _require_enough(source, num_images)
    num_outer = min(MAX_HELD_OUT, num_images // OUTER_PART)
    num_select = min(MAX_HELD_OUT, num_images // SELECT_PART)
    order = stratified_order(source.train.labels)
    outer, select, train = np.split(order, [num_outer, num_outer + num_select])
    return Dataset(
        name=source.name,
        num_classes=source.num_classes,
        train=take(source.train, train),
        outer=take(source.train, outer),
        select=take(source.train, select),
        test=source.test,
        notices=source.notices,
    )


def _require_enough(source: Source, num_images: int) -> None:
    least = SELECT_PART * source.num_classes
    if num_images < least:
        raise ValueError(
            f"{source.name} must have at least {least} training images for its "
            f"{source.num_classes} classes to be split, got {num_images}."
        )
    if len(source.test.labels) == 0:
        raise ValueError(f"{source.name} must have test images, got none.")


def stratified_order(labels: Int32[np.ndarray, " batch"]) -> Int[np.ndarray, " batch"]:
    """A fixed random order of the images in which every beginning has each class in its share.

    The images of each class are shuffled, then spread evenly over the whole order.
    """
    # RandomState and not Generator: its stream is frozen, so the cut outlives numpy's releases.
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.argsort(place, kind="stable")


def cut_test(batch: Batch) -> tuple[Batch, Batch]:
    """Training and test images of a data set that has no test images of its own.

    A fifth is set aside, at most 10,000, every class in its share and the same ones on every call.
    """
    num_test = min(MAX_TEST, len(batch.labels) // OUTER_PART)
    test, train = np.split(stratified_order(batch.labels), [num_test])
    return take(batch, train), take(batch, test)


def take(batch: Batch, indices: Int[np.ndarray, " chosen"]) -> Batch:
    """The images and labels at `indices`."""
    return Batch(batch.images[indices], batch.labels[indices])


def subset(dataset: Dataset, *, num_classes: int = 0, num_images: int = 0) -> Dataset:
    """The first classes of a data set, and fewer images to train on.

    Args:
        dataset: All of it.
        num_classes: So many; 0 for all.
        num_images: Training images at most, every class in its share; 0 for all.

    Raises:
        ValueError: One class alone, or more than there are.
    """
    if num_classes and not 2 <= num_classes <= dataset.num_classes:
        raise ValueError(
            f"data.num_classes must lie in [2, {dataset.num_classes}] for {dataset.name}, "
            f"got {num_classes}."
        )
    if num_classes:
        parts = {name: getattr(dataset, name) for name in ("train", "outer", "select", "test")}
        chosen = {
            name: take(part, np.flatnonzero(part.labels < num_classes))
            for name, part in parts.items()
        }
        dataset = dataset._replace(num_classes=num_classes, **chosen)
    if num_images:
        # Their order spreads every class evenly, see `stratified_order`.
        fewer = Batch(*(part[:num_images] for part in dataset.train))
        dataset = dataset._replace(train=fewer)
    return dataset


def resize(source: Source, image_size: int) -> Source:
    """Shrinks all images to a height of `image_size` pixels, see `shrink`."""
    train, test = (
        Batch(shrink(batch.images, image_size), batch.labels)
        for batch in (source.train, source.test)
    )
    return source._replace(train=train, test=test)


def shrink(
    images: UInt8[np.ndarray, "batch height width channels"], image_size: int
) -> UInt8[np.ndarray, "batch small_height small_width channels"]:
    """Averages square blocks of pixels by a whole factor, rounded to the nearest grey level.

    Args:
        images: Values 0 to 255.
        image_size: Height after shrinking, in pixels; the width shrinks by the same factor.

    Raises:
        ValueError: No whole factor leads to `image_size`.
    """
    height, width = images.shape[1:3]
    allowed = [height // f for f in range(1, height + 1) if height % f == 0 and width % f == 0]
    if image_size not in allowed:
        sizes = ", ".join(map(str, allowed))
        raise ValueError(f"image_size must be one of {sizes}, got {image_size}.")
    factor = height // image_size
    if factor == 1:
        return images
    area = factor**2
    shape = (len(images), height // factor, width // factor, images.shape[3])
    # Two bytes hold the sum of up to 256 pixels with half of that for rounding.
    total = np.full(shape, area // 2, np.uint16 if area <= 256 else np.uint32)
    for row in range(factor):
        for column in range(factor):
            total += images[:, row::factor, column::factor]
    return (total // area).astype(np.uint8)

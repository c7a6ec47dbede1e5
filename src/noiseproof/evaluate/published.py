"""Test sets from published files: a released CIFAR-10-C or MNIST-C folder beside our own draws.

Their rows have a role of their own, so that no corruption counts twice: what it is to the learned
optimizer stands in the row of the same name.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from noiseproof.corruptions.families import FAMILY_OF
from noiseproof.corruptions.severity import NUM_SEVERITIES
from noiseproof.data.corrupted import read_cifar10_c, read_mnist_c
from noiseproof.data.dataset import shrink, take
from noiseproof.evaluate.conditions import Conditions
from noiseproof.evaluate.suites import Report, TestSet, chosen_images
from noiseproof.messages import require_printable
from noiseproof.types import Batch


def with_published(
    conditions: Conditions, folder: Path, test: Batch, *, num_images: int, num_classes: int
) -> Conditions:
    """Conditions with those of a folder behind them.

    Args:
        conditions: Our own.
        folder: With `labels.npy` and a file for each corruption, or with a folder for each.
        test: All test images of the data set, of which the folder must hold corrupted versions.
        num_images: As in `few`: the same images are drawn.
        num_classes: Of the data set.

    Raises:
        ValueError: The folder holds no corruption of a name that is known, a file is damaged, or
            its images are not those of the test set.
    """
    require_printable(folder)
    found = tuple(read_sets(folder, num_classes))
    if not found:
        raise ValueError(
            f"{folder} must be laid out as CIFAR-10-C or MNIST-C, with corruptions such as fog."
        )
    for one in found:
        check_same_images(one, test, folder)

    def test_sets(split: Batch, *report: Report) -> list[TestSet]:
        side, index = split.images.shape[1], chosen_images(len(test.labels), num_images)
        drawn = (one._replace(batch=take(one.batch, index)) for one in found)
        return [
            *conditions.test_sets(split, *report),
            *(one._replace(batch=with_side(one.batch, side)) for one in drawn),
        ]

    return conditions._replace(test_sets=test_sets)


def read_sets(folder: Path, num_classes: int) -> Iterator[TestSet]:
    """The corruptions of a folder that have a family; images stay on the disk until they are used.

    Raises:
        ValueError: A file is damaged or of another kind.
    """
    as_cifar = (folder / "labels.npy").is_file()
    for name, family in FAMILY_OF.items():
        if as_cifar and (folder / f"{name}.npy").is_file():
            for severity in range(1, NUM_SEVERITIES + 1):
                batch = read_cifar10_c(folder, name, severity, num_classes=num_classes)
                yield published_set(name, family, severity, batch)
        elif (folder / name / "test_images.npy").is_file():
            batch = read_mnist_c(folder, name, num_classes=num_classes)
            yield published_set(name, family, None, batch)


def published_set(name: str, family: str, severity: int | None, batch: Batch) -> TestSet:
    """Images of a folder under one corruption."""
    return TestSet(f"{name} (published)", family, severity, None, "published", batch)


def check_same_images(one: TestSet, test: Batch, folder: Path) -> None:
    """Raises ValueError where a set is not of the test images, in their order."""
    if not np.array_equal(one.batch.labels, test.labels):
        raise ValueError(
            f"{one.corruption} in {folder} must hold the {len(test.labels)} test images of the "
            "data set in their order, but the labels differ."
        )
    (height, width, channels), (small, narrow, own) = (
        batch.images.shape[1:] for batch in (one.batch, test)
    )
    if channels != own or height * narrow != width * small or height % small:
        raise ValueError(
            f"{one.corruption} in {folder} must hold images of {small} x {narrow} x {own} or a "
            f"multiple of that, got {height} x {width} x {channels}."
        )


def with_side(batch: Batch, side: int) -> Batch:
    """Images shrunk to a side, as those of the data set were."""
    return batch._replace(images=shrink(np.asarray(batch.images), side))

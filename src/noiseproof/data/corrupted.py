"""Arrays of corrupted images on disk: CIFAR-10-C, MNIST-C, and what `noiseproof corrupt` writes.

CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261) is a folder with one
`<corruption>.npy` each, uint8, all test images five times, severity 1 first, and a `labels.npy`.
MNIST-C (N. Mu and J. Gilmer, 2019, arXiv 1906.02337) is one folder per corruption with
`{train,test}_{images,labels}.npy`. Images are memory-mapped, so that a file of any size costs
nothing until it is looked at; nothing is unpickled.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Shaped

from noiseproof.data.labels import whole_labels
from noiseproof.data.trust import reason, require_regular, shown
from noiseproof.messages import require_printable, short
from noiseproof.types import Batch

NUM_SEVERITIES = 5
NUM_CLASSES = 10
"""Of CIFAR-10-C and of MNIST-C."""


def read_cifar10_c(
    folder: Path | str, corruption: str, severity: Any, *, num_classes: int = NUM_CLASSES
) -> Batch:
    """The test images under one corruption at one severity, in the layout of CIFAR-10-C.

    Args:
        folder: With `<corruption>.npy` and `labels.npy`, whose labels are of the images five
            times, or of the images once.
        corruption: The name of the file.
        severity: 1 to 5.
        num_classes: Labels are below it; 100 in CIFAR-100-C.

    Returns:
        Images uint8 `[batch height width channels]`, memory-mapped, and labels int32.

    Raises:
        ValueError: The severity is none, or a file is missing, damaged, or of another kind.
    """
    if severity not in tuple(range(1, NUM_SEVERITIES + 1)):
        raise ValueError(f"severity must be a whole number from 1 to 5, got {short(severity)}.")
    path = _within(folder, corruption, f"{corruption}.npy")
    images = _images(path)
    if len(images) % NUM_SEVERITIES:
        raise ValueError(f"{path} must hold five times the same images, got {len(images)} in all.")
    count = len(images) // NUM_SEVERITIES
    labels_path = path.with_name("labels.npy")
    labels = _labels(labels_path, (count, len(images)), num_classes)
    if (labels.reshape(-1, count) != labels[:count]).any():
        raise ValueError(f"{labels_path} must repeat its labels for every severity.")
    start = (int(severity) - 1) * count
    return Batch(images[start : start + count], labels[:count])


def read_mnist_c(
    folder: Path | str, corruption: str, *, part: str = "test", num_classes: int = NUM_CLASSES
) -> Batch:
    """One corruption of MNIST-C, or the clean images under the name `identity`.

    Args:
        folder: With a folder for each corruption.
        corruption: The name of its folder.
        part: `"train"`, which some copies lack, or `"test"`.
        num_classes: Labels are below it.

    Returns:
        Images uint8 `[batch 28 28 1]`, memory-mapped, and labels int32.

    Raises:
        ValueError: The part is none of the two, or a file is missing, damaged, or of another kind.
    """
    if part not in ("train", "test"):
        raise ValueError(f"part must be train or test, got {shown(part)}.")
    place = _within(folder, corruption, corruption)
    images = _images(place / f"{part}_images.npy")
    labels = _labels(place / f"{part}_labels.npy", (len(images),), num_classes)
    return Batch(images, labels)


def _within(folder: Path | str, corruption: str, name: str) -> Path:
    require_printable(folder)
    if Path(corruption).name != corruption or not corruption.isprintable():
        raise ValueError(f"corruption must be the name of a file, got {short(corruption)}.")
    require_printable(Path(folder) / name)
    return Path(folder) / name


def _images(path: Path) -> Shaped[np.ndarray, "batch height width channels"]:
    images = _mapped(path)
    if images.dtype != np.uint8:
        raise ValueError(f"{path} must hold uint8 images, got {shown(str(images.dtype))}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"{path} must have the shape N x H x W or N x H x W x C with 1 or 3 channels, "
            f"got {_times(images.shape)}."
        )
    if 0 in images.shape:
        raise ValueError(f"{path} must hold images, got {_times(images.shape)}.")
    return images


def _labels(path: Path, allowed: tuple[int, ...], num_classes: int) -> Int32[np.ndarray, " labels"]:
    mapped = _mapped(path)
    labels = mapped.ravel() if mapped.size == max(mapped.shape, default=0) else mapped
    if labels.shape not in [(count,) for count in allowed]:
        counts = " or ".join(map(str, allowed))
        raise ValueError(f"{path} must hold {counts} labels, got shape {_times(mapped.shape)}.")
    numbers = whole_labels(labels, str(path))
    if numbers.max() >= num_classes:
        raise ValueError(
            f"{path} must hold labels from 0 to {num_classes - 1}, got {numbers.max()}."
        )
    return np.asarray(numbers)


def _mapped(path: Path) -> Shaped[np.ndarray, "..."]:
    require_regular(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    # Damage makes numpy raise whatever it stumbles over, objects a ValueError.
    except Exception as error:
        raise ValueError(
            f"{path} must be a whole .npy file of plain numbers: {reason(error)}."
        ) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path} must be a single array, got an archive.")
    return array


def _times(shape: tuple[int, ...]) -> str:
    return shown(" x ".join(map(str, shape)) or "no axis")

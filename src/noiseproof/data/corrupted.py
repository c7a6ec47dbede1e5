"""Arrays of corrupted images on disk: CIFAR-10-C, MNIST-C, and what `noiseproof corrupt` writes.

CIFAR-10-C (D. Hendrycks and T. Dietterich, 2019, arXiv 1903.12261) is a folder with one
`<corruption>.npy` each, uint8, all test images five times, severity 1 first, and a `labels.npy`.
MNIST-C (N. Mu and J. Gilmer, 2019, arXiv 1906.02337) is one folder per corruption with
`{train,test}_{images,labels}.npy`. Images are memory-mapped, so that a file of any size costs
nothing until it is looked at; nothing is unpickled.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from noiseproof.types import Batch

NUM_SEVERITIES = 5


def read_cifar10_c(folder: Path, corruption: str, severity: int) -> Batch:
    """The test images under one corruption at one severity, in the layout of CIFAR-10-C.

    Args:
        folder: With `<corruption>.npy` and `labels.npy`.
        corruption: The name of the file.
        severity: 1 to 5.

    Returns:
        Images uint8 `[batch height width channels]`, memory-mapped, and labels int32.

    Raises:
        ValueError: The severity is none, or a file is missing, damaged, or of another kind.
    """
    if severity not in range(1, NUM_SEVERITIES + 1):
        raise ValueError(f"severity must be a whole number from 1 to 5, got {severity}.")
    path = folder / f"{corruption}.npy"
    images = _images(path)
    if len(images) == 0 or len(images) % NUM_SEVERITIES:
        raise ValueError(f"{path} must hold five times the same images, got {len(images)} in all.")
    labels = _labels(folder / "labels.npy", len(images))
    count = len(images) // NUM_SEVERITIES
    if not (labels.reshape(NUM_SEVERITIES, count) == labels[:count]).all():
        raise ValueError(f"{folder / 'labels.npy'} must repeat its labels for every severity.")
    return Batch(images[(severity - 1) * count : severity * count], labels[:count])


def read_mnist_c(folder: Path, corruption: str, *, part: str = "test") -> Batch:
    """One corruption of MNIST-C, or the clean images under the name `identity`.

    Args:
        folder: With a folder for each corruption.
        corruption: The name of its folder.
        part: `"train"` or `"test"`.

    Returns:
        Images uint8 `[batch 28 28 1]`, memory-mapped, and labels int32.

    Raises:
        ValueError: The part is none of the two, or a file is missing, damaged, or of another kind.
    """
    if part not in ("train", "test"):
        raise ValueError(f"part must be train or test, got {part}.")
    images = _images(folder / corruption / f"{part}_images.npy")
    return Batch(images, _labels(folder / corruption / f"{part}_labels.npy", len(images)))


def _images(path: Path) -> Shaped[np.ndarray, "..."]:
    images = _mapped(path)
    if images.dtype != np.uint8:
        raise ValueError(f"{path} must hold uint8 images, got {images.dtype}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"{path} must have the shape N x H x W or N x H x W x C with 1 or 3 channels, "
            f"got {' x '.join(map(str, images.shape))}."
        )
    return images


def _labels(path: Path, num_images: int) -> Shaped[np.ndarray, "..."]:
    labels = _mapped(path)
    if labels.shape != (num_images,):
        raise ValueError(f"{path} must hold {num_images} labels, got shape {labels.shape}.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path} must hold whole numbers, got {labels.dtype}.")
    return np.asarray(labels, np.int32)


def _mapped(path: Path) -> Shaped[np.ndarray, "..."]:
    if not path.is_file():
        raise ValueError(f"{path} is missing.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    # Damage makes numpy raise whatever it stumbles over, objects a ValueError.
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{path} must be a whole .npy file of plain numbers: {reason}.") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} must be a single array, got an archive.")
    return array

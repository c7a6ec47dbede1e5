"""A user's own images: one `.npz` file with `x_train`, `y_train`, `x_test` and `y_test`.

The layout is Keras's, so `numpy.savez(file, x_train=..., ...)` on what most tutorials have in hand
makes one. Nothing is unpickled.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from noiseproof.data.dataset import Source
from noiseproof.types import Batch

KEYS = ("x_train", "y_train", "x_test", "y_test")

MAX_LABEL = np.iinfo(np.int32).max
"""Labels are kept in 32 bits, and a larger one would come out as another."""


def read_npz(path: Path) -> Source:
    """Reads a data set that is named after its file.

    Images are uint8 N x H x W or N x H x W x C with one or three channels; labels are integers
    without a gap from 0.

    Raises:
        ValueError: The file is missing, no whole `.npz`, or an array is missing or not as above.
    """
    arrays = _load(path)
    train, test = (
        Batch(
            _checked_images(arrays[f"x_{part}"], f"x_{part} in {path}"),
            _checked_labels(arrays[f"y_{part}"], f"y_{part} in {path}"),
        )
        for part in ("train", "test")
    )
    num_classes = _count_classes(train, path)
    _require_agreement(train, test, num_classes, path)
    return Source(path.stem, train=train, test=test, num_classes=num_classes)


def _load(path: Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    with _opened(path) as archive:
        missing = [name for name in KEYS if name not in archive]
        if missing:
            raise ValueError(f"{path} must hold {', '.join(KEYS)}, but lacks {', '.join(missing)}.")
        return {name: _array(archive, name, path) for name in KEYS}


def _opened(path: Path) -> np.lib.npyio.NpzFile:
    if not path.is_file():
        raise ValueError(f"{path} is missing.")
    try:
        archive = np.load(path, allow_pickle=False)
    # Damage makes zipfile, zlib and numpy raise whatever they stumble over; so too below.
    except Exception:
        archive = None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(f"{path} must be a whole .npz file; it is of another kind, or cut off.")
    return archive


def _array(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> Shaped[np.ndarray, "..."]:
    try:
        return np.asarray(archive[name])
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{name} in {path} must be a whole, plain array: {reason}.") from None


def _checked_images(
    images: Shaped[np.ndarray, "..."], where: str
) -> UInt8[np.ndarray, "batch height width channels"]:
    if images.dtype != np.uint8:
        raise ValueError(f"{where} must be uint8, 0 to 255, got {images.dtype}.")
    if images.ndim not in (3, 4):
        raise ValueError(f"{where} must be N x H x W or N x H x W x C, got shape {images.shape}.")
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[3] not in (1, 3):
        raise ValueError(f"{where} must have 1 or 3 channels, last axis, got {images.shape[3]}.")
    if 0 in images.shape:
        raise ValueError(f"{where} must hold images, got shape {images.shape}.")
    return np.ascontiguousarray(images)


def _checked_labels(labels: Shaped[np.ndarray, "..."], where: str) -> Int32[np.ndarray, " batch"]:
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{where} must be integers, got {labels.dtype}.")
    if labels.ndim != 1:
        raise ValueError(f"{where} must have one axis, got shape {labels.shape}.")
    if labels.size > 0 and (labels.min() < 0 or labels.max() > MAX_LABEL):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{where} must lie between 0 and {MAX_LABEL}, got {wrong}.")
    return labels.astype(np.int32)


def _count_classes(train: Batch, path: Path) -> int:
    classes = np.unique(train.labels)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        shown = ", ".join(map(str, classes[:12].tolist())) + (", ..." if len(classes) > 12 else "")
        raise ValueError(
            f"y_train in {path} must use every label from 0 up, at least two of them, got {shown}."
        )
    return len(classes)


def _require_agreement(train: Batch, test: Batch, num_classes: int, path: Path) -> None:
    for part, batch in (("train", train), ("test", test)):
        if len(batch.images) != len(batch.labels):
            raise ValueError(
                f"y_{part} in {path} must hold one label for each of {len(batch.images)} images, "
                f"got {len(batch.labels)}."
            )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"x_test in {path} must hold images of shape {train.images.shape[1:]} as x_train does, "
            f"got {test.images.shape[1:]}."
        )
    strangers = np.setdiff1d(test.labels, np.arange(num_classes))
    if len(strangers) > 0:
        raise ValueError(
            f"y_test in {path} must hold labels from 0 to {num_classes - 1}, got {strangers[0]}."
        )

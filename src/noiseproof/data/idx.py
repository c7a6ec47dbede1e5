"""MNIST and the data sets in its format: Fashion-MNIST, KMNIST, EMNIST.

An IDX file is four magic bytes (two zeros, the type of the values, the number of dimensions), the
dimensions as big-endian 32-bit numbers, then the values. Source: the format's description by
LeCun, Cortes and Burges (1998) beside their MNIST database.
"""

import gzip
import hashlib
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from noiseproof.data.dataset import Source
from noiseproof.data.published import (
    EMNIST_CLASSES,
    PUBLISHED,
    first_existing,
    is_gzip,
    notices_of_unofficial,
    sha256_of,
)
from noiseproof.data.trust import Read, read_up_to, reason, require_regular
from noiseproof.types import Batch

NUM_CLASSES = 10
UNSIGNED_BYTE = 0x08
"""The type code of uint8, the only one in use."""

MOST_VALUES = 1 << 30
"""Pixels of a file at most, almost twice those of EMNIST's largest."""

EMNIST_ARCHIVE = "emnist/gzip.zip"


class IdxFile(NamedTuple):
    """What an IDX file holds.

    Attributes:
        values: The array.
        sha256: Checksum of the content, decompressed.
    """

    values: UInt8[np.ndarray, "..."]
    sha256: str


def mnist_family(name: str) -> Callable[[Path | None], Source]:
    """A reader of `<data_dir>/<name>/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]`.

    The reader raises a `ValueError` that names the file when one is missing, cut off or
    inconsistent, and says so in a notice when one is not the official file.
    """

    def read(data_dir: Path | None) -> Source:
        notices: list[str] = []

        def part(which: str) -> Batch:
            images, images_path = read_file(f"{name}/{which}-images-idx3-ubyte", 3)
            labels, labels_path = read_file(f"{name}/{which}-labels-idx1-ubyte", 1)
            return _batch(images, images_path, labels, labels_path, NUM_CLASSES)

        def read_file(plain: str, num_dimensions: int) -> tuple[UInt8[np.ndarray, "..."], Path]:
            path = first_existing(name, data_dir, (f"{plain}.gz", plain))
            file = _read_path(path, num_dimensions)
            notices.extend(_unofficial(name, path, f"{plain}.gz", file))
            return file.values, path

        train, test = part("train"), part("t10k")
        _require_one_size(train, test, name)
        return Source(name, train, test, NUM_CLASSES, tuple(notices))

    return read


def emnist(split: str) -> Callable[[Path | None], Source]:
    """A reader of one of EMNIST's six groupings, from `<data_dir>/emnist/gzip.zip`.

    Unpacked files, `<data_dir>/emnist/emnist-<split>-...-ubyte[.gz]`, are read where there is no
    archive. Letters are numbered from 0, though they are from 1 as published; images are turned
    upright, though they are published with rows for columns.
    """
    name, num_classes = f"emnist-{split}", EMNIST_CLASSES[split]

    def read(data_dir: Path | None) -> Source:
        first = f"emnist/{name}-train-images-idx3-ubyte"
        place = first_existing(name, data_dir, (EMNIST_ARCHIVE, f"{first}.gz", first))
        notices = ()
        if place.suffix == ".zip":
            sha256 = sha256_of(place, of_content=False)
            notices = notices_of_unofficial(name, place, EMNIST_ARCHIVE, sha256)

        def part(which: str) -> Batch:
            images, images_path = read_file(f"{name}-{which}-images-idx3-ubyte", 3)
            labels, labels_path = read_file(f"{name}-{which}-labels-idx1-ubyte", 1)
            upright = images.transpose(0, 2, 1)
            from_0 = labels - 1 if split == "letters" else labels
            return _batch(upright, images_path, from_0, labels_path, num_classes)

        def read_file(plain: str, num_dimensions: int) -> tuple[UInt8[np.ndarray, "..."], Path]:
            if place.suffix == ".zip":
                return _read_member(place, f"gzip/{plain}.gz", num_dimensions)
            candidates = (f"emnist/{plain}.gz", f"emnist/{plain}")
            path = first_existing(name, data_dir, candidates)
            return _read_path(path, num_dimensions).values, path

        train, test = part("train"), part("test")
        _require_one_size(train, test, name)
        return Source(name, train, test, num_classes, notices)

    return read


def _batch(
    images: UInt8[np.ndarray, "batch height width"],
    images_path: Path,
    labels: UInt8[np.ndarray, " labels"],
    labels_path: Path,
    num_classes: int,
) -> Batch:
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path} must hold one label for each of the {len(images)} images of "
            f"{images_path.name}, got {len(labels)}."
        )
    numbers = _checked_labels(labels, labels_path, num_classes)
    return Batch(np.ascontiguousarray(images[..., None]), numbers)


def _checked_labels(
    labels: UInt8[np.ndarray, " batch"], path: Path, num_classes: int
) -> Int32[np.ndarray, " batch"]:
    if labels.max() >= num_classes:
        raise ValueError(
            f"{path} must hold labels from 0 to {num_classes - 1}, got {labels.max()}."
        )
    return labels.astype(np.int32)


def _require_one_size(train: Batch, test: Batch, name: str) -> None:
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"{name} must have test images of the size of its training images, "
            f"{_times(train.images.shape[1:3])}, got {_times(test.images.shape[1:3])}."
        )


def _unofficial(name: str, path: Path, official: str, file: IdxFile) -> tuple[str, ...]:
    """One line where a file is not the official one; nothing where no checksum tells."""
    of_content = next(known.of_content for known in PUBLISHED[name] if known.path == official)
    if of_content:
        return notices_of_unofficial(name, path, official, file.sha256)
    if not is_gzip(path):
        return ()
    return notices_of_unofficial(name, path, official, sha256_of(path, of_content=False))


def _read_path(path: Path, num_dimensions: int) -> IdxFile:
    zipped = is_gzip(path)
    with gzip.open(path) if zipped else path.open("rb") as stream:
        return _undamaged(stream.read, path, num_dimensions)


def _read_member(
    archive: Path, name: str, num_dimensions: int
) -> tuple[UInt8[np.ndarray, "..."], Path]:
    """A file of a zip archive, and the name that messages call it by."""
    require_regular(archive)
    try:
        with (
            zipfile.ZipFile(archive) as members,
            members.open(name) as packed,
            gzip.GzipFile(fileobj=packed) as stream,
        ):
            return _undamaged(stream.read, archive / name, num_dimensions).values, archive / name
    except KeyError:
        raise ValueError(f"{archive} must hold {name}, which it does not.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{archive} must be a whole zip archive: {reason(error)}.") from None


def _undamaged(read: Read, path: Path, num_dimensions: int) -> IdxFile:
    try:
        return read_idx(read, path, num_dimensions)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole gzip file, but it is damaged: {reason(error)}."
        ) from None


def read_idx(read: Read, path: Path, num_dimensions: int) -> IdxFile:
    """Reads an IDX file, and of what follows its header no more than the header says.

    Args:
        read: Of the file, decompressed: reads as many bytes as it is told.
        path: Its name, for error messages.
        num_dimensions: How many dimensions the array must have.

    Raises:
        ValueError: The header is not of unsigned bytes in that many dimensions, there are
            no values, or more or fewer than it says.
    """
    magic = bytes([0, 0, UNSIGNED_BYTE, num_dimensions])
    header_size = 4 + 4 * num_dimensions
    header = read_up_to(read, header_size)
    if header[:4] != magic:
        raise ValueError(
            f"{path} must be an IDX file that begins with the bytes {magic.hex(' ')}, "
            f"got {header[:4].hex(' ') or 'an empty file'}."
        )
    if len(header) < header_size:
        raise ValueError(
            f"{path} must have a header of {header_size} bytes, got {len(header)}: it is cut off."
        )
    shape = struct.unpack(f">{num_dimensions}I", header[4:])
    if 0 in shape:
        raise ValueError(f"{path} must hold values, got {_times(shape)} of them.")
    expected = math.prod(shape)
    # One byte more, which tells whether something follows, and brings gzip to its checksum.
    values = read_up_to(read, min(expected, MOST_VALUES) + 1)
    if len(values) > MOST_VALUES:
        raise ValueError(f"{path} must hold at most {MOST_VALUES} values, got {_times(shape)}.")
    if len(values) != expected:
        found = f"{len(values)}: it is cut off" if len(values) < expected else "more"
        raise ValueError(f"{path} must hold {_times(shape)} = {expected} values, got {found}.")
    sha256 = hashlib.sha256(header)
    sha256.update(values)
    return IdxFile(np.frombuffer(values, np.uint8).reshape(shape), sha256.hexdigest())


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

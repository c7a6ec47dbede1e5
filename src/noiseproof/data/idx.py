"""IDX files, plain or gzip, the format of the MNIST family.

A header (two zero bytes, the type of the values, the number of dimensions, then each dimension as
a big-endian 32-bit integer), then the values. Source: the format's description by LeCun, Cortes
and Burges (1998) beside their MNIST database.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from noiseproof.data.dataset import Source
from noiseproof.data.published import first_existing, is_gzip, warn_if_unofficial
from noiseproof.types import Batch

NUM_CLASSES = 10
UNSIGNED_BYTE = 0x08
"""The type code of uint8, the only one in use."""


def mnist_family(name: str) -> Callable[[Path | None], Source]:
    """A reader of `<data_dir>/<name>/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]`.

    The reader raises a `ValueError` that names the file when one is missing, cut off or
    inconsistent, and warns when one is not the official file.
    """

    def read(data_dir: Path | None) -> Source:
        train, test = (_read_part(name, data_dir, part) for part in ("train", "t10k"))
        if train.images.shape[1:] != test.images.shape[1:]:
            raise ValueError(
                f"{name} must have test images of the size of its training images, "
                f"{_times(train.images.shape[1:3])}, got {_times(test.images.shape[1:3])}."
            )
        return Source(name, train=train, test=test, num_classes=NUM_CLASSES)

    return read


def _read_part(name: str, data_dir: Path | None, part: str) -> Batch:
    images_path, images = _read_file(name, data_dir, f"{name}/{part}-images-idx3-ubyte", 3)
    labels_path, labels = _read_file(name, data_dir, f"{name}/{part}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path} must hold one label for each of the {len(images)} images of "
            f"{images_path.name}, got {len(labels)}."
        )
    return Batch(images[..., None], _checked_labels(labels, labels_path))


def _checked_labels(labels: UInt8[np.ndarray, " batch"], path: Path) -> Int32[np.ndarray, " batch"]:
    if labels.max() >= NUM_CLASSES:
        raise ValueError(f"{path} must hold labels from 0 to 9, got {labels.max()}.")
    return labels.astype(np.int32)


def _read_file(
    name: str, data_dir: Path | None, plain: str, num_dimensions: int
) -> tuple[Path, UInt8[np.ndarray, "..."]]:
    path = first_existing(name, data_dir, (f"{plain}.gz", plain))
    content = _content(path)
    values = parse_idx(content, path, num_dimensions)
    warn_if_unofficial(name, path, f"{plain}.gz", hashlib.sha256(content).hexdigest())
    return path, values


def _content(path: Path) -> bytes:
    if not is_gzip(path):
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file, but it is damaged: {error}.") from None


def parse_idx(content: bytes, path: Path, num_dimensions: int) -> UInt8[np.ndarray, "..."]:
    """The array in the content of an IDX file, read-only.

    Args:
        content: The whole file, decompressed.
        path: Its name, for error messages.
        num_dimensions: How many dimensions the array must have.

    Raises:
        ValueError: The header is not of unsigned bytes in that many dimensions, there are
            no values, or more or fewer than it says.
    """
    magic = bytes([0, 0, UNSIGNED_BYTE, num_dimensions])
    if content[:4] != magic:
        raise ValueError(
            f"{path} must be an IDX file that begins with the bytes {magic.hex(' ')}, "
            f"got {content[:4].hex(' ') or 'an empty file'}."
        )
    header_size = 4 + 4 * num_dimensions
    if len(content) < header_size:
        raise ValueError(
            f"{path} must have a header of {header_size} bytes, got {len(content)}: it is cut off."
        )
    shape = struct.unpack(f">{num_dimensions}I", content[4:header_size])
    if 0 in shape:
        raise ValueError(f"{path} must hold values, got {_times(shape)} of them.")
    found, expected = len(content) - header_size, math.prod(shape)
    if found != expected:
        what = "it is cut off" if found < expected else "something follows them"
        raise ValueError(
            f"{path} must hold {_times(shape)} = {expected} values, got {found}: {what}."
        )
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

"""CIFAR-10 in its binary version, read from the archive in place or from the unpacked folder.

Each record is a label byte and 3,072 pixel bytes: all of red, then green, then blue, row by row.
Source: Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images".
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from noiseproof.data.dataset import Source
from noiseproof.data.published import first_existing, sha256_of, warn_if_unofficial
from noiseproof.types import Batch

NAME = "cifar-10"
ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
NUM_CLASSES = 10
SIZE, NUM_CHANNELS = 32, 3
RECORD_SIZE = 1 + NUM_CHANNELS * SIZE * SIZE


def read_cifar10(data_dir: Path | None) -> Source:
    """Reads `<data_dir>/cifar-10-binary.tar.gz`, or else `<data_dir>/cifar-10-batches-bin/`.

    Nothing is unpacked to disk. Images keep the published order. An archive that is not the
    official one is used with a warning; the unpacked files have no checksum to compare with.

    Raises:
        ValueError: Archive, folder or one of the six files is missing, cut off or no CIFAR-10.
    """
    place = first_existing(NAME, data_dir, (ARCHIVE, FOLDER))
    files = _folder_files(place) if place.is_dir() else _archive_files(place)
    batches = {name: _parse(content, f"{place}: {name}") for name, content in files}
    _require_six_alike(batches, place)
    if place.is_file():
        warn_if_unofficial(NAME, place, ARCHIVE, sha256_of(place, of_content=False))
    images, labels = zip(*(batches[name] for name in TRAIN_FILES), strict=True)
    train = Batch(np.concatenate(images), np.concatenate(labels))
    return Source(NAME, train=train, test=batches[TEST_FILE], num_classes=NUM_CLASSES)


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in (*TRAIN_FILES, TEST_FILE):
        if (folder / name).is_file():
            yield name, (folder / name).read_bytes()


def _archive_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN_FILES, TEST_FILE)}
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as members:
            for member in members:
                name = wanted.get(member.name.removeprefix("./"))
                content = members.extractfile(member) if name and member.isfile() else None
                if name and content:
                    yield name, content.read()
            # gzip checks its checksum only at the very end, where tarfile does not go.
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{archive} must be a whole .tar.gz archive, but it is damaged: {error}."
        ) from None


def _parse(content: bytes, where: str) -> Batch:
    if len(content) == 0 or len(content) % RECORD_SIZE:
        raise ValueError(
            f"{where} must hold whole records of {RECORD_SIZE} bytes, got {len(content)} bytes."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_SIZE)
    labels = records[:, 0].astype(np.int32)
    if labels.max() >= NUM_CLASSES:
        raise ValueError(f"{where} must hold labels from 0 to 9, got {labels.max()}.")
    channels_first = records[:, 1:].reshape(-1, NUM_CHANNELS, SIZE, SIZE)
    return Batch(np.ascontiguousarray(channels_first.transpose(0, 2, 3, 1)), labels)


def _require_six_alike(batches: dict[str, Batch], place: Path) -> None:
    missing = [name for name in (*TRAIN_FILES, TEST_FILE) if name not in batches]
    if missing:
        raise ValueError(f"{place} must hold {', '.join(missing)}, which it does not.")
    sizes = [len(batches[name].labels) for name in (*TRAIN_FILES, TEST_FILE)]
    if len(set(sizes)) > 1:
        raise ValueError(f"{place} must hold six files of one size, got {sizes} images.")

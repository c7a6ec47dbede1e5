"""CIFAR-10 and CIFAR-100 in their binary versions, read from the archive or the unpacked folder.

Each record is one or two label bytes and 3,072 pixel bytes: all of red, then green, then blue, row
by row. The Python versions are pickles, which are programs, and are not read.
Source: Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images".
"""

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from noiseproof.data.dataset import Source
from noiseproof.data.published import first_existing, notices_of_unofficial, sha256_of
from noiseproof.data.trust import CHUNK, read_up_to, reason, require_regular
from noiseproof.types import Batch

SIZE, NUM_CHANNELS = 32, 3
NUM_PIXELS = NUM_CHANNELS * SIZE * SIZE

MOST_RECORDS = 60_000
"""Images of CIFAR-10, and of CIFAR-100, in all files together."""

MOST_MEMBERS = 100
"""Members of an archive that are looked at; the official ones have 8 and 6."""


class Version(NamedTuple):
    """One of the CIFAR data sets.

    Attributes:
        name: The name of the data set.
        archive: The published file.
        folder: What its archive unpacks to.
        train_files: In their order.
        test_file: The published test set.
        label_bytes: Bytes of a record before its pixels.
        label_byte: Which one of them is the label.
        num_classes: Labels are 0 to `num_classes - 1`.
    """

    name: str
    archive: str
    folder: str
    train_files: tuple[str, ...]
    test_file: str
    label_bytes: int
    label_byte: int
    num_classes: int


CIFAR_10 = Version(
    "cifar-10",
    "cifar-10-binary.tar.gz",
    "cifar-10-batches-bin",
    tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test_batch.bin",
    label_bytes=1,
    label_byte=0,
    num_classes=10,
)
CIFAR_100 = Version(
    "cifar-100",
    "cifar-100-binary.tar.gz",
    "cifar-100-binary",
    ("train.bin",),
    "test.bin",
    label_bytes=2,
    label_byte=1,
    num_classes=100,
)
CIFAR_100_COARSE = CIFAR_100._replace(name="cifar-100-coarse", label_byte=0, num_classes=20)


def files_of(version: Version) -> tuple[str, ...]:
    """All files of a version, the test file last."""
    return (*version.train_files, version.test_file)


def record_size(version: Version) -> int:
    """Bytes of an image with its labels."""
    return version.label_bytes + NUM_PIXELS


def cifar_family(version: Version) -> Callable[[Path | None], Source]:
    """A reader of `<data_dir>/ARCHIVE`, of `<data_dir>/FOLDER/`, or of the folder itself.

    Nothing is unpacked to disk. Images keep the published order. An archive that is not the
    official one is used with a notice; the unpacked files have no checksum to compare with.

    The reader raises a `ValueError` where archive, folder or a file is missing, cut off or of
    another kind.
    """

    def read(data_dir: Path | None) -> Source:
        place = _place(version, data_dir)
        files = _folder_files(version, place) if place.is_dir() else _archive_files(version, place)
        missing = [name for name in files_of(version) if name not in files]
        if missing:
            raise ValueError(f"{place} must hold {', '.join(missing)}, which it does not.")
        batches = [
            _parse(version, files.pop(name), f"{place}: {name}") for name in files_of(version)
        ]
        _require_alike(version, batches, place)
        *train, test = batches
        notices = ()
        if place.is_file():
            sha256 = sha256_of(place, of_content=False)
            notices = notices_of_unofficial(version.name, place, version.archive, sha256)
        images, labels = zip(*train, strict=True)
        joined = Batch(np.concatenate(images), np.concatenate(labels))
        return Source(version.name, joined, test, version.num_classes, notices)

    return read


def cifar_at(path: Path) -> Source | None:
    """What a path holds that is named as one of the published archives or folders; else nothing.

    Raises:
        ValueError: It is a Python version, or is damaged.
    """
    for version in (CIFAR_10, CIFAR_100):
        if path.name in _python_names(version):
            raise ValueError(_refusal(version, path))
        if path.name in (version.archive, version.folder):
            return cifar_family(version)(path.parent)
    return None


def _place(version: Version, data_dir: Path | None) -> Path:
    published = (version.archive, version.folder)
    if data_dir is not None and not any((data_dir / name).exists() for name in published):
        if (data_dir / version.train_files[0]).exists():
            return data_dir
        for name in (*_python_names(version), "batches.meta"):
            if (data_dir / name).exists():
                raise ValueError(_refusal(version, data_dir / name))
    return first_existing(version.name, data_dir, published)


def _python_names(version: Version) -> tuple[str, ...]:
    stem = version.archive.removesuffix("-binary.tar.gz")
    return (f"{stem}-python.tar.gz", f"{stem}-batches-py", f"{stem}-python")


def _refusal(version: Version, path: Path) -> str:
    return (
        f"{path} is the Python version, whose pickles are not read; "
        f"the binary version is {version.archive}: `noiseproof fetch {version.name}`."
    )


def _folder_files(version: Version, folder: Path) -> dict[str, bytearray]:
    files = {}
    for name in files_of(version):
        if (folder / name).exists():
            require_regular(folder / name)
            with (folder / name).open("rb") as stream:
                files[name] = read_up_to(stream.read, MOST_RECORDS * record_size(version) + 1)
    return files


def _archive_files(version: Version, archive: Path) -> dict[str, bytearray]:
    require_regular(archive)
    wanted = {f"{version.folder}/{name}": name for name in files_of(version)}
    files = {}
    try:
        with gzip.open(archive) as stream:
            whole = _at_most(stream, MOST_RECORDS * record_size(version) + CHUNK)
            with tarfile.open(fileobj=whole, mode="r|", bufsize=CHUNK) as members:
                for number, member in enumerate(members):
                    if number == MOST_MEMBERS:
                        raise ValueError(f"it holds more than {MOST_MEMBERS} files")
                    name = wanted.get(member.name.removeprefix("./"))
                    content = members.extractfile(member) if name and member.isreg() else None
                    if name and content:
                        files[name] = read_up_to(content.read, member.size)
                        if len(files[name]) != member.size:
                            raise ValueError(f"{name} is cut off")
            # gzip checks its checksum only at the very end, where tarfile does not go.
            while whole.read(CHUNK):
                pass
    # Damage makes tarfile, gzip and zlib raise whatever they stumble over.
    except Exception as error:
        raise ValueError(
            f"{archive} must be a whole .tar.gz archive, but it is damaged: {reason(error)}."
        ) from None
    return files


def _at_most(stream: gzip.GzipFile, num_bytes: int) -> Any:
    """The stream as one that refuses to go on beyond so many bytes, or beyond its end.

    To skip a member that says it is huge, tarfile would read nothing a quadrillion times.
    """
    left, reads_at_end = num_bytes, 0

    def read(size: int) -> bytes:
        nonlocal left, reads_at_end
        content = stream.read(min(size, left + 1))
        left -= len(content)
        reads_at_end += not content
        if left < 0:
            raise ValueError(f"it unpacks to more than {num_bytes} bytes")
        if reads_at_end > 3:
            raise EOFError("it is cut off")
        return content

    return SimpleNamespace(read=read)


def _parse(version: Version, content: bytearray, where: str) -> Batch:
    if len(content) == 0 or len(content) % record_size(version):
        raise ValueError(
            f"{where} must hold whole records of {record_size(version)} bytes, "
            f"got {len(content)} bytes."
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record_size(version))
    labels = records[:, version.label_byte].astype(np.int32)
    if labels.max() >= version.num_classes:
        raise ValueError(
            f"{where} must hold labels from 0 to {version.num_classes - 1}, got {labels.max()}."
        )
    pixels = records[:, version.label_bytes :]
    channels_first = pixels.reshape(-1, NUM_CHANNELS, SIZE, SIZE)
    return Batch(np.ascontiguousarray(channels_first.transpose(0, 2, 3, 1)), labels)


def _require_alike(version: Version, batches: list[Batch], place: Path) -> None:
    """CIFAR-10's six files are of one size, so that one that is cut off between records shows."""
    sizes = [len(batch.labels) for batch in batches]
    if len(version.train_files) > 1 and len(set(sizes)) > 1:
        raise ValueError(f"{place} must hold six files of one size, got {sizes} images.")

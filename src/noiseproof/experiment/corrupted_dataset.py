"""Writing a corrupted data set to disk in the layout of CIFAR-10-C.

One `<corruption>.npy` each, uint8, all test images five times, severity 1 first, and `labels.npy`.
Images are written as they are made, in a file that gets its name when it is whole. An image's
randomness depends on the seed, the corruption, the severity and its own number alone (see
`noiseproof.corruptions.keys`), so that a resumed job goes on where the file ends and gives the
same bytes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import PRNGKeyArray, UInt8

from noiseproof.corruptions.apply import check_channels, corrupt, find_corruption
from noiseproof.corruptions.families import STANDARD_15, VALIDATION_4, for_channels
from noiseproof.corruptions.images import as_batch
from noiseproof.corruptions.keys import as_key
from noiseproof.data import Dataset, load_dataset
from noiseproof.data.dataset import fingerprint
from noiseproof.experiment.folder import IMAGES, claim
from noiseproof.files import write_whole
from noiseproof.messages import short
from noiseproof.types import Batch

SETTINGS_FILE = "corrupted.json"
"""Says what a folder holds; its presence marks the folder as one of this command."""

CHUNK = 500
"""Images that are corrupted at once, which bounds the memory."""

Report = Callable[[str, int, int], None]
"""`(corruption, images done, images in all)`, called after every chunk."""


def corrupt_dataset(
    dataset: str | Path,
    out: Path,
    *,
    data_dir: Path | None = None,
    corruptions: Sequence[str] | None = None,
    seed: int = 0,
    limit: int | None = None,
    resume: bool = False,
    report: Report = lambda _name, _done, _total: None,
    tell: Callable[[Dataset], None] = lambda _dataset: None,
) -> list[Path]:
    """Writes the test images of a data set under some corruptions at all five severities.

    Args:
        dataset: A name, a file or a folder, as `load_dataset` takes it.
        out: The folder to write to, new or empty, or one to resume.
        data_dir: The folder with the files of the data sets.
        corruptions: Names; by default the 19 of CIFAR-10-C, without `saturate` on grey images.
        seed: Of all random draws.
        limit: Only so many images, the first ones.
        resume: Whether to go on with an interrupted job of the same settings.
        report: Told of the progress.
        tell: Told of the data set when it is read.

    Returns:
        The files, `labels.npy` last.

    Raises:
        ValueError: A name, the limit or the data are wrong, or the folder is in use; nothing is
            written then.
    """
    read = load_dataset(dataset, data_dir=data_dir)
    tell(read)
    test = read.test
    names = _checked_names(corruptions, test.images.shape[-1])
    images, labels = _limited(test.images, test.labels, limit)
    as_batch(images)
    key = as_key(seed)
    settings = {"dataset": Path(dataset).name, "seed": seed, "images": len(images)}
    settings[IMAGES] = fingerprint(Batch(images, labels))
    claim(out, settings, file_name=SETTINGS_FILE, resume=resume)
    paths = [_write_one(images, name, out, partial(report, name), key) for name in names]
    # One byte, as the released ones have, where that is enough.
    content = BytesIO()
    np.save(content, np.tile(labels, 5).astype(np.min_scalar_type(labels.max())))
    write_whole(out / "labels.npy", content.getvalue())
    return [*paths, out / "labels.npy"]


def _checked_names(corruptions: Sequence[str] | None, num_channels: int) -> tuple[str, ...]:
    if corruptions is None:
        return for_channels((*STANDARD_15, *VALIDATION_4), num_channels)
    if len(set(corruptions)) != len(corruptions) or not corruptions:
        raise ValueError(
            f"corruptions must be named once each, got {short(', '.join(corruptions))}."
        )
    for name in corruptions:
        check_channels(find_corruption(name), name, num_channels)
    return tuple(corruptions)


def _limited(
    images: np.ndarray, labels: np.ndarray, limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    if limit is not None and not 1 <= limit <= len(images):
        raise ValueError(f"limit must lie between 1 and {len(images)} images, got {limit}.")
    return images[:limit], labels[:limit]


def _write_one(
    images: UInt8[np.ndarray, "batch height width channels"],
    name: str,
    out: Path,
    report: Callable[[int, int], None],
    key: PRNGKeyArray,
) -> Path:
    path = out / f"{name}.npy"
    total = 5 * len(images)
    size = len(_header((total, *images.shape[1:]))) + total * images[0].size
    if path.exists() and path.stat().st_size == size:
        report(total, total)
        return path
    part = path.with_suffix(".part")
    with part.open("ab") as file:
        done = _whole_images(file, images)
        while done < total:
            chunk = _chunk(images, name, done, key)
            file.write(chunk.tobytes())
            done += len(chunk)
            report(done, total)
    part.replace(path)
    return path


def _whole_images(file: BinaryIO, images: np.ndarray) -> int:
    """How many images the file holds; it is cut behind the last, and gets its header if it is new.

    Chunks begin at multiples of `CHUNK` within a severity, so that a resumed job compiles and
    computes what an uninterrupted one does.
    """
    header = _header((5 * len(images), *images.shape[1:]))
    if file.seek(0, 2) < len(header):
        file.truncate(0)
        file.write(header)
    size = images[0].size
    severity, place = divmod((file.seek(0, 2) - len(header)) // size, len(images))
    done = severity * len(images) + place // CHUNK * CHUNK
    file.truncate(len(header) + done * size)
    file.seek(0, 2)
    return done


def _header(shape: tuple[int, ...]) -> bytes:
    """How an `.npy` file of uint8 begins."""
    beginning = BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(beginning, description)
    return beginning.getvalue()


def _chunk(
    images: np.ndarray, name: str, done: int, key: PRNGKeyArray
) -> UInt8[np.ndarray, "chunk height width channels"]:
    severity, first = divmod(done, len(images))
    some = images[first : first + CHUNK]
    return np.asarray(corrupt(some, name, severity + 1, key, first=first))

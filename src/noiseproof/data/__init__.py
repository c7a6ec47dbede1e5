"""Readers of image data sets and their four splits."""

from collections.abc import Callable
from pathlib import Path

from noiseproof.data.cifar import read_cifar10
from noiseproof.data.dataset import Dataset, Source, image_shape, resize, split
from noiseproof.data.digits import read_digits
from noiseproof.data.idx import mnist_family
from noiseproof.data.npz import read_npz
from noiseproof.data.published import PUBLISHED

__all__ = ["DATASETS", "PUBLISHED", "Dataset", "Source", "image_shape", "load_dataset"]

DATASETS: dict[str, Callable[[Path | None], Source]] = {
    "digits": read_digits,
    "mnist": mnist_family("mnist"),
    "fashion-mnist": mnist_family("fashion-mnist"),
    "cifar-10": read_cifar10,
}
"""Name -> reader `(data_dir) -> Source`; `data_dir` is the folder that holds the files."""


def load_dataset(
    name: str | Path, *, data_dir: Path | None = None, image_size: int | None = None
) -> Dataset:
    """Reads a data set and cuts its four splits, which are the same on every call.

    Args:
        name: A name in `DATASETS`, or the path of a user's own `.npz` file, see `read_npz`.
        data_dir: The folder with the files of the data sets; digits and `.npz` need none.
        image_size: Height to shrink the images to by averaging, a whole fraction of theirs.

    Raises:
        ValueError: The name is unknown, a file is missing or damaged, the image size is no whole
            fraction, or there are too few images to split.
    """
    source = _read(name, data_dir)
    return split(source if image_size is None else resize(source, image_size))


def _read(name: str | Path, data_dir: Path | None) -> Source:
    if Path(name).suffix == ".npz":
        return read_npz(Path(name))
    if name not in DATASETS:
        names = ", ".join(DATASETS)
        raise ValueError(f"The data set must be one of {names} or a .npz file, got {name}.")
    return DATASETS[str(name)](data_dir)

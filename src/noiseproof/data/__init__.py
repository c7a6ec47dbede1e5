"""Readers of image data sets and their four splits."""

from collections.abc import Callable
from pathlib import Path

from noiseproof.data.cifar import CIFAR_10, CIFAR_100, CIFAR_100_COARSE, cifar_at, cifar_family
from noiseproof.data.dataset import Dataset, Source, image_shape, resize, split
from noiseproof.data.digits import read_digits
from noiseproof.data.hdf5 import read_hdf5
from noiseproof.data.idx import emnist, mnist_family
from noiseproof.data.images_folder import read_images_folder
from noiseproof.data.matlab import read_matlab, read_svhn
from noiseproof.data.npz import read_npz
from noiseproof.data.published import EMNIST_CLASSES, PUBLISHED
from noiseproof.messages import did_you_mean, require_printable, short

__all__ = ["DATASETS", "FILES", "PUBLISHED", "Dataset", "Source", "image_shape", "load_dataset"]

DATASETS: dict[str, Callable[[Path | None], Source]] = {
    "digits": read_digits,
    "mnist": mnist_family("mnist"),
    "fashion-mnist": mnist_family("fashion-mnist"),
    "cifar-10": cifar_family(CIFAR_10),
    "cifar-100": cifar_family(CIFAR_100),
    "cifar-100-coarse": cifar_family(CIFAR_100_COARSE),
    "kmnist": mnist_family("kmnist"),
    **{f"emnist-{split_name}": emnist(split_name) for split_name in EMNIST_CLASSES},
    "svhn": read_svhn,
}
"""Name -> reader `(data_dir) -> Source`; `data_dir` is the folder that holds the files."""

FILES: dict[str, Callable[[Path], Source]] = {
    ".npz": read_npz,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".mat": read_matlab,
}
"""Suffix -> reader `(path) -> Source` of a user's own file; folders have `read_images_folder`."""


def load_dataset(
    name: str | Path, *, data_dir: str | Path | None = None, image_size: int | None = None
) -> Dataset:
    """Reads a data set and cuts its four splits, which are the same on every call.

    Args:
        name: A name in `DATASETS`; or the path of a user's own file of a suffix in `FILES`, or of a
            folder of images by class.
        data_dir: The folder with the files of the data sets; digits and a user's own need none.
        image_size: Height to shrink the images to by averaging, a whole fraction of theirs.

    Raises:
        ValueError: The name is unknown, a file is missing or damaged, the image size is no whole
            fraction, or there are too few images to split.
        OSError: A file cannot be read.
    """
    require_printable(name)
    if data_dir is not None:
        require_printable(data_dir)
    source = _read(name, None if data_dir is None else Path(data_dir))
    return split(source if image_size is None else resize(source, image_size))


def _read(name: str | Path, data_dir: Path | None) -> Source:
    path = Path(str(name))
    if str(name) in DATASETS:
        return DATASETS[str(name)](data_dir)
    if (cifar := cifar_at(path)) is not None:
        return cifar
    if path.suffix.lower() in FILES:
        return FILES[path.suffix.lower()](path)
    if path.is_dir():
        return read_images_folder(path)
    raise ValueError(
        f"The data set must be one of {', '.join(DATASETS)}, a file of {', '.join(FILES)}, "
        f"or a folder of images by class, got {short(str(name))}." + did_you_mean(name, DATASETS)
    )

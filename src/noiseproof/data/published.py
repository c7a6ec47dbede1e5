"""The published files of the standard data sets: where they lie, and how to know them.

IDX files are known by their decompressed content, because mirrors wrap it in gzip anew and the
compressed bytes differ; CIFAR-10 by its archive as a whole.

Sources of the data: LeCun, Cortes and Burges (1998), MNIST; Xiao, Rasul and Vollgraf (2017),
Fashion-MNIST, arXiv 1708.07747; Krizhevsky (2009), CIFAR-10, "Learning Multiple Layers of Features
from Tiny Images". The checksums of the IDX files were computed from byte-exact copies.
"""

import gzip
import hashlib
import warnings
from pathlib import Path
from typing import NamedTuple

GZIP_START = b"\x1f\x8b"
"""The first two bytes of every gzip file (RFC 1952)."""


class PublishedFile(NamedTuple):
    """One file of a published data set.

    Attributes:
        path: Where it lies, below the data folder.
        url: Where it can be downloaded.
        num_bytes: Size of the download, for progress; mirrors may differ a little.
        sha256: Checksum, hexadecimal.
        of_content: Whether the checksum is of the decompressed content.
    """

    path: str
    url: str
    num_bytes: int
    sha256: str
    of_content: bool


def _idx_files(
    name: str, url: str, sizes_and_sums: dict[str, tuple[int, str]]
) -> tuple[PublishedFile, ...]:
    return tuple(
        PublishedFile(f"{name}/{file}.gz", f"{url}{file}.gz", num_bytes, sha256, of_content=True)
        for file, (num_bytes, sha256) in sizes_and_sums.items()
    )


PUBLISHED: dict[str, tuple[PublishedFile, ...]] = {
    "mnist": _idx_files(
        "mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte": (
                9_912_422,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1-ubyte": (
                28_881,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "t10k-images-idx3-ubyte": (
                1_648_877,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            "t10k-labels-idx1-ubyte": (
                4_542,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    ),
    "fashion-mnist": _idx_files(
        "fashion-mnist",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte": (
                26_421_880,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1-ubyte": (
                29_515,
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "t10k-images-idx3-ubyte": (
                4_422_102,
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            "t10k-labels-idx1-ubyte": (
                5_148,
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    ),
    "cifar-10": (
        PublishedFile(
            "cifar-10-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            of_content=False,
        ),
    ),
}
"""Name -> the files of a data set that can be downloaded."""


def is_gzip(path: Path) -> bool:
    """Whether the file begins as gzip does; names lie, as browsers unpack behind the back."""
    with path.open("rb") as stream:
        return stream.read(len(GZIP_START)) == GZIP_START


def sha256_of(path: Path, *, of_content: bool) -> str:
    """SHA-256 of a file, of its decompressed content if `of_content` and it is gzip."""
    with gzip.open(path) if of_content and is_gzip(path) else path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def first_existing(name: str, data_dir: Path | None, candidates: tuple[str, ...]) -> Path:
    """The first of the candidate files or folders, below `data_dir`, that there is.

    Raises:
        ValueError: No folder was given, or none of the candidates exists in it.
    """
    if data_dir is None:
        raise ValueError(
            f"{name} is read from files: a data folder is required (--data-dir or NOISEPROOF_DATA)."
        )
    for candidate in candidates:
        if (data_dir / candidate).exists():
            return data_dir / candidate
    raise ValueError(
        f"{data_dir / candidates[0]} is missing; `noiseproof fetch {name}` downloads {name}."
    )


def warn_if_unofficial(name: str, path: Path, path_of_official: str, sha256: str) -> None:
    """Says so, as a `UserWarning` of one line, when a file that was read is not the official one.

    A private copy is as good as any once its structure is checked; records should not hide it.
    """
    official = {file.path: file.sha256 for file in PUBLISHED[name]}
    if sha256 != official[path_of_official]:
        warnings.warn(
            f"{path} is not the official file (its SHA-256 differs), but it is well formed: used.",
            stacklevel=2,
        )

"""The published files of the standard data sets: where they lie, and how to know them.

IDX files are known by their decompressed content, because mirrors wrap it in gzip anew and the
compressed bytes differ; CIFAR-10 by its archive as a whole.

Sources of the data: LeCun, Cortes and Burges (1998), MNIST; Xiao, Rasul and Vollgraf (2017),
Fashion-MNIST, arXiv 1708.07747; Clanuwat et al. (2018), Kuzushiji-MNIST, arXiv 1812.01718; Cohen,
Afshar, Tapson and van Schaik (2017), EMNIST, arXiv 1702.05373; Krizhevsky (2009), CIFAR-10 and
CIFAR-100, "Learning Multiple Layers of Features from Tiny Images"; Netzer et al. (2011), SVHN. The
checksums of MNIST and Fashion-MNIST were computed from byte-exact copies; those of KMNIST, EMNIST,
CIFAR-100 and SVHN are the ones that TensorFlow Datasets checks its downloads by.
"""

import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

from noiseproof.data.trust import require_regular

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


EMNIST_CLASSES = {
    "balanced": 47,
    "byclass": 62,
    "bymerge": 47,
    "digits": 10,
    "letters": 26,
    "mnist": 10,
}
"""The six ways in which EMNIST groups its characters, and how many classes each has."""

_EMNIST = PublishedFile(
    "emnist/gzip.zip",
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    561_753_746,
    "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    of_content=False,
)

_CIFAR_100 = PublishedFile(
    "cifar-100-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    168_513_733,
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    of_content=False,
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
    "cifar-100": (_CIFAR_100,),
    "cifar-100-coarse": (_CIFAR_100,),
    "kmnist": tuple(
        PublishedFile(
            f"kmnist/{file}.gz",
            f"http://codh.rois.ac.jp/kmnist/dataset/kmnist/{file}.gz",
            num_bytes,
            sha256,
            of_content=False,
        )
        for file, num_bytes, sha256 in (
            (
                "train-images-idx3-ubyte",
                18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            ),
            (
                "train-labels-idx1-ubyte",
                29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            ),
            (
                "t10k-images-idx3-ubyte",
                3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            ),
            (
                "t10k-labels-idx1-ubyte",
                5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
            ),
        )
    ),
    **{f"emnist-{split}": (_EMNIST,) for split in EMNIST_CLASSES},
    "svhn": tuple(
        PublishedFile(
            f"svhn/{file}",
            f"http://ufldl.stanford.edu/housenumbers/{file}",
            num_bytes,
            sha256,
            of_content=False,
        )
        for file, num_bytes, sha256 in (
            (
                "train_32x32.mat",
                182_040_794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            (
                "test_32x32.mat",
                64_275_384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        )
    ),
}
"""Name -> the files of a data set that can be downloaded."""


def is_gzip(path: Path) -> bool:
    """Whether the file begins as gzip does; names lie, as browsers unpack behind the back."""
    require_regular(path)
    with path.open("rb") as stream:
        return stream.read(len(GZIP_START)) == GZIP_START


def sha256_of(path: Path, *, of_content: bool) -> str:
    """SHA-256 of a file, of its decompressed content if `of_content` and it is gzip."""
    require_regular(path)
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


def notices_of_unofficial(
    name: str, path: Path, path_of_official: str, sha256: str
) -> tuple[str, ...]:
    """One line where a file that was read is not the official one.

    A private copy is as good as any once its structure is checked; records should not hide it.
    """
    official = {file.path: file.sha256 for file in PUBLISHED[name]}
    if sha256 == official[path_of_official]:
        return ()
    return (f"{path} is not the official file (its SHA-256 differs), but it is well formed: used.",)

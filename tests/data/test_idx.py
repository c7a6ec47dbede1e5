"""IDX files come back as they were written, and every kind of damage is named."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from noiseproof.data.idx import emnist, mnist_family, read_idx

read_mnist = mnist_family("mnist")


@pytest.fixture
def folder(tmp_path: Path, generate: SimpleNamespace) -> Path:
    """The folder of a small MNIST in plain files, to be damaged."""
    generate.write_mnist(tmp_path / "mnist", gz=False)
    return tmp_path / "mnist"


def read_error(folder: Path) -> str:
    with pytest.raises(ValueError, match="must") as caught:
        read_mnist(folder.parent)
    return str(caught.value)


@pytest.mark.parametrize("gz", [True, False])
def test_images_and_labels_come_back(tmp_path: Path, generate: SimpleNamespace, gz: bool):
    generate.write_mnist(tmp_path / "mnist", gz=gz)
    source = read_mnist(tmp_path)
    expected = generate.random_images(100, 28, 28, seed=100)
    np.testing.assert_array_equal(source.train.images[..., 0], expected)
    np.testing.assert_array_equal(source.test.labels, generate.cycled_labels(20))
    assert source.num_classes == 10


def test_a_gz_file_that_a_browser_unpacked_is_read(folder: Path):
    plain = folder / "train-images-idx3-ubyte"
    plain.rename(plain.with_name(f"{plain.name}.gz"))
    assert len(read_mnist(folder.parent).train.labels) == 100


def test_dimensions_are_big_endian():
    content = struct.pack(">BBBBII", 0, 0, 8, 2, 1, 258) + bytes(258)
    assert read_idx(io.BytesIO(content).read, Path("file"), 2).values.shape == (1, 258)


def test_a_private_copy_is_used_with_a_notice(folder: Path):
    notices = read_mnist(folder.parent).notices
    assert len(notices) == 4
    assert "train-images-idx3-ubyte is not the official file" in notices[0]


@pytest.mark.parametrize(
    ("start", "shown"),
    [
        (b"\x00\x00\x08\x01", "00 00 08 01"),  # labels in the place of images
        (b"\x00\x00\x0d\x03", "00 00 0d 03"),  # floats
        (b"<htm", "3c 68 74 6d"),  # a saved error page
    ],
)
def test_wrong_magic(folder: Path, start: bytes, shown: str):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(start + path.read_bytes()[4:])
    expected = f"{path} must be an IDX file that begins with the bytes 00 00 08 03, got {shown}."
    assert read_error(folder) == expected


def test_an_empty_file(folder: Path):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"")
    assert "t10k-labels-idx1-ubyte must be an IDX file" in read_error(folder)
    assert "got an empty file." in read_error(folder)


def test_a_cut_off_header(folder: Path):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:10])
    assert read_error(folder) == f"{path} must have a header of 16 bytes, got 10: it is cut off."


@pytest.mark.parametrize(("change", "found"), [(-1, "78399: it is cut off"), (1, "more")])
def test_too_few_and_too_many_values(folder: Path, change: int, found: str):
    path = folder / "train-images-idx3-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    expected = f"{path} must hold 100 x 28 x 28 = 78400 values, got {found}."
    assert read_error(folder) == expected


def test_dimensions_too_large_to_exist_are_only_a_cut_off_file(folder: Path):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1))
    assert read_error(folder).endswith("values, got 0: it is cut off.")


def test_no_images(folder: Path, generate: SimpleNamespace):
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(generate.idx_bytes(np.zeros((0, 28, 28), np.uint8)))
    assert read_error(folder) == f"{path} must hold values, got 0 x 28 x 28 of them."


def test_more_images_than_labels(folder: Path, generate: SimpleNamespace):
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(generate.idx_bytes(generate.cycled_labels(99)))
    assert read_error(folder) == (
        f"{path} must hold one label for each of the 100 images of train-images-idx3-ubyte, got 99."
    )


def test_a_label_that_is_no_digit(folder: Path, generate: SimpleNamespace):
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(generate.idx_bytes(np.full(20, 10, np.uint8)))
    assert read_error(folder) == f"{path} must hold labels from 0 to 9, got 10."


def test_test_images_of_another_size(folder: Path, generate: SimpleNamespace):
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(generate.idx_bytes(generate.random_images(20, 14, 14)))
    assert read_error(folder) == (
        "mnist must have test images of the size of its training images, 28 x 28, got 14 x 14."
    )


def test_a_missing_file_is_named(folder: Path):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    expected = r"mnist/t10k-labels-idx1-ubyte\.gz is missing; `noiseproof fetch mnist`"
    with pytest.raises(ValueError, match=expected):
        read_mnist(folder.parent)


def damaged(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "cut off": content[:middle],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "checksum": content[:-8] + bytes(4) + content[-4:],
        "trailing": content + b"trailing",
    }


@pytest.mark.parametrize("kind", ["cut off", "one bit", "checksum", "trailing"])
def test_damaged_gzip(folder: Path, kind: str):
    plain = folder / "train-images-idx3-ubyte"
    path = plain.with_name(f"{plain.name}.gz")
    path.write_bytes(damaged(gzip.compress(plain.read_bytes()))[kind])
    message = read_error(folder)
    assert message.startswith(f"{path} must be a whole gzip file, but it is damaged: ")
    assert "\n" not in message


def test_no_more_is_unpacked_than_the_header_says(folder: Path):
    # 64 MB of zeros in 64 kB, behind a header of 80 images.
    path = folder / "train-images-idx3-ubyte.gz"
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, 80, 28, 28)
    path.write_bytes(gzip.compress(header) + gzip.compress(bytes(1 << 23)) * 8)
    tracemalloc.start()
    assert read_error(folder) == f"{path} must hold 80 x 28 x 28 = 62720 values, got more."
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_pipe_is_refused_and_not_waited_for(folder: Path):
    os.mkfifo(folder / "train-images-idx3-ubyte.gz")
    assert "must be a regular file, got a folder, a pipe or a device" in read_error(folder)


def test_emnist_is_turned_upright_and_letters_are_from_0(tmp_path: Path, generate: SimpleNamespace):
    generate.write_emnist(tmp_path / "emnist" / "gzip.zip", {"letters": 26})
    source = emnist("letters")(tmp_path)
    published = generate.random_images(26, 28, 28, seed=26)
    np.testing.assert_array_equal(source.test.images[..., 0], published.transpose(0, 2, 1))
    np.testing.assert_array_equal(source.test.labels, np.arange(26))
    assert source.num_classes == 26
    assert "gzip.zip is not the official file" in source.notices[0]


def test_emnist_unpacked(tmp_path: Path, generate: SimpleNamespace):
    archive = tmp_path / "packed" / "gzip.zip"
    generate.write_emnist(archive, {"digits": 10})
    with zipfile.ZipFile(archive) as members:
        members.extractall(tmp_path)
    (tmp_path / "gzip").rename(tmp_path / "emnist")
    assert len(emnist("digits")(tmp_path).train.labels) == 140


def test_emnist_without_the_files_asked_for(tmp_path: Path, generate: SimpleNamespace):
    generate.write_emnist(tmp_path / "emnist" / "gzip.zip", {"digits": 10})
    with pytest.raises(ValueError, match=r"must hold gzip/emnist-letters-train-images.*\.gz"):
        emnist("letters")(tmp_path)
    (tmp_path / "emnist" / "gzip.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"gzip\.zip must be a whole zip archive"):
        emnist("digits")(tmp_path)

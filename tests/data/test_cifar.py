"""CIFAR-10 comes back from archive and folder alike, and every kind of damage is named."""

import gzip
import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from noiseproof.data.cifar import CIFAR_10, cifar

read_cifar10 = cifar(CIFAR_10)

ARCHIVE = "cifar-10-binary.tar.gz"


def write_folder(data_dir: Path, files: dict[str, bytes]) -> None:
    folder = data_dir / "cifar-10-batches-bin"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_pixels_are_channel_major(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files(1)
    pixels = np.zeros((3, 32, 32), np.uint8)
    pixels[0, 0, 1], pixels[1, 5, 0], pixels[2, 31, 31] = 10, 20, 30
    files["test_batch.bin"] = bytes([7]) + pixels.tobytes()
    write_folder(tmp_path, files)
    test = read_cifar10(tmp_path).test
    expected = np.zeros((1, 32, 32, 3), np.uint8)
    expected[0, 0, 1, 0], expected[0, 5, 0, 1], expected[0, 31, 31, 2] = 10, 20, 30
    np.testing.assert_array_equal(test.images, expected)
    assert test.labels.tolist() == [7]


def test_archive_and_folder_hold_the_same(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files()
    (tmp_path / "packed").mkdir()
    (tmp_path / "unpacked").mkdir()
    generate.write_tar(tmp_path / "packed" / ARCHIVE, files)
    write_folder(tmp_path / "unpacked", files)
    packed, unpacked = read_cifar10(tmp_path / "packed"), read_cifar10(tmp_path / "unpacked")
    np.testing.assert_array_equal(packed.train.images, unpacked.train.images)
    np.testing.assert_array_equal(packed.test.labels, unpacked.test.labels)


def test_training_files_are_joined_in_number_order(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files(1)
    for number in range(1, 6):
        files[f"data_batch_{number}.bin"] = bytes([number]) + bytes(3072)
    # The official archive is not in this order either.
    generate.write_tar(tmp_path / ARCHIVE, dict(reversed(files.items())))
    assert read_cifar10(tmp_path).train.labels.tolist() == [1, 2, 3, 4, 5]


def test_nothing_is_unpacked(tmp_path: Path, generate: SimpleNamespace):
    generate.write_tar(tmp_path / ARCHIVE, generate.cifar_files())
    read_cifar10(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


def test_other_members_are_passed_over(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files() | {"readme.html": b"hello", "../../escaped.bin": b"x"}
    generate.write_tar(tmp_path / ARCHIVE, files)
    assert len(read_cifar10(tmp_path).train.labels) == 100


def test_a_link_is_no_file(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files()
    content = files.pop("test_batch.bin")
    secret = tmp_path / "secret.bin"
    secret.write_bytes(content)
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.raises(ValueError, match=r"must hold test_batch\.bin, which it does not"):
        read_cifar10(tmp_path)


def test_a_private_copy_is_used_with_a_notice(tmp_path: Path, generate: SimpleNamespace):
    generate.write_tar(tmp_path / ARCHIVE, generate.cifar_files())
    (notice,) = read_cifar10(tmp_path).notices
    assert f"{ARCHIVE} is not the official file (its SHA-256 differs)" in notice


def test_missing_files_are_named(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files()
    del files["data_batch_3.bin"], files["test_batch.bin"]
    write_folder(tmp_path, files)
    expected = r"bin must hold data_batch_3\.bin, test_batch\.bin, which it does not\."
    with pytest.raises(ValueError, match=expected):
        read_cifar10(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 3072, 20 * 3073 - 1])
def test_no_whole_records(tmp_path: Path, generate: SimpleNamespace, size: int):
    files = generate.cifar_files()
    files["data_batch_2.bin"] = files["data_batch_2.bin"][:size]
    write_folder(tmp_path, files)
    expected = rf"data_batch_2\.bin must hold whole records of 3073 bytes, got {size} bytes"
    with pytest.raises(ValueError, match=expected):
        read_cifar10(tmp_path)


def test_a_file_cut_off_between_two_records(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files()
    files["data_batch_5.bin"] = files["data_batch_5.bin"][: 12 * 3073]
    write_folder(tmp_path, files)
    expected = r"six files of one size, got \[20, 20, 20, 20, 12, 20\] images"
    with pytest.raises(ValueError, match=expected):
        read_cifar10(tmp_path)


def test_a_label_out_of_range(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar_files()
    files["test_batch.bin"] = bytes([99]) + files["test_batch.bin"][1:]
    write_folder(tmp_path, files)
    with pytest.raises(ValueError, match=r"test_batch\.bin must hold labels from 0 to 9, got 99"):
        read_cifar10(tmp_path)


def test_no_archive_at_all(tmp_path: Path):
    (tmp_path / ARCHIVE).write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"must be a whole \.tar\.gz archive, but it is damaged"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_a_cut_off_archive(tmp_path: Path, generate: SimpleNamespace, share: float):
    path = tmp_path / ARCHIVE
    generate.write_tar(path, generate.cifar_files())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"binary\.tar\.gz must be a whole \.tar\.gz archive"):
        read_cifar10(tmp_path)


def test_a_wrong_checksum_of_gzip(tmp_path: Path, generate: SimpleNamespace):
    path = tmp_path / ARCHIVE
    generate.write_tar(path, generate.cifar_files())
    content = path.read_bytes()
    path.write_bytes(content[:-8] + bytes(4) + content[-4:])
    with pytest.raises(ValueError, match="damaged: CRC check failed"):
        read_cifar10(tmp_path)


def test_flipped_bytes_never_pass_unseen(tmp_path: Path, generate: SimpleNamespace):
    path = tmp_path / ARCHIVE
    generate.write_tar(path, generate.cifar_files(2))
    content = bytearray(path.read_bytes())
    # The first ten bytes are gzip's header, where time and system are free to differ.
    for place in np.random.default_rng(0).integers(10, len(content), 40):
        flipped = content.copy()
        flipped[place] ^= 0x55
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="must"):
            read_cifar10(tmp_path)


def test_an_archive_without_compression_is_named(tmp_path: Path, generate: SimpleNamespace):
    path = tmp_path / ARCHIVE
    generate.write_tar(path, generate.cifar_files(1))
    path.write_bytes(gzip.decompress(path.read_bytes()))
    with pytest.raises(ValueError, match=r"must be a whole \.tar\.gz archive"):
        read_cifar10(tmp_path)

"""CIFAR-10 comes back from archive and folder alike, and every kind of damage is named."""

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from noiseproof.data import load_dataset
from noiseproof.data.cifar import CIFAR_10, CIFAR_100, CIFAR_100_COARSE, cifar_family

read_cifar10 = cifar_family(CIFAR_10)

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


def test_the_unpacked_folder_itself_is_a_data_folder(tmp_path: Path, generate: SimpleNamespace):
    write_folder(tmp_path, generate.cifar_files())
    source = read_cifar10(tmp_path / "cifar-10-batches-bin")
    assert len(source.train.labels) == 100
    assert load_dataset(tmp_path / "cifar-10-batches-bin").name == "cifar-10"


@pytest.mark.parametrize(
    "name", ["cifar-10-python.tar.gz", "cifar-10-batches-py/", "batches.meta", "cifar-10-python/"]
)
def test_the_python_version_is_refused_with_the_name_of_the_binary_one(tmp_path: Path, name: str):
    (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    expected = r"whose pickles are not read; the binary version is cifar-10-binary\.tar\.gz"
    with pytest.raises(ValueError, match=expected):
        load_dataset("cifar-10", data_dir=str(tmp_path))
    if name != "batches.meta":
        with pytest.raises(ValueError, match=expected):
            load_dataset(tmp_path / name)


def test_cifar_100_fine_and_coarse(tmp_path: Path, generate: SimpleNamespace):
    files = generate.cifar100_files(700, 100)
    (tmp_path / "cifar-100-binary").mkdir()
    for name, content in files.items():
        (tmp_path / "cifar-100-binary" / name).write_bytes(content)
    fine, coarse = (cifar_family(version)(tmp_path) for version in (CIFAR_100, CIFAR_100_COARSE))
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    np.testing.assert_array_equal(fine.test.labels, np.arange(100))
    np.testing.assert_array_equal(coarse.test.labels, np.arange(100) % 20)
    pixels = np.frombuffer(files["test.bin"], np.uint8).reshape(100, 3074)[:, 2:]
    np.testing.assert_array_equal(
        fine.test.images, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    )


def tar_with(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    """An archive of headers that may say anything, each with some bytes behind it."""
    content = b""
    for member, data in members:
        content += member.tobuf(tarfile.GNU_FORMAT) + data
    path.write_bytes(gzip.compress(content + bytes(1024)))


@pytest.mark.parametrize("size", [2**33, 2**62, 2**80, 10**8])
def test_a_size_that_lies(tmp_path: Path, size: int):
    member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    member.size = size
    tar_with(tmp_path / ARCHIVE, (member, bytes(3073)))
    with pytest.raises(ValueError, match=r"must be a whole \.tar\.gz archive, but it is damaged"):
        read_cifar10(tmp_path)


def test_a_size_that_lies_of_a_member_passed_over(tmp_path: Path):
    member = tarfile.TarInfo("readme.html")
    member.size = 2**62
    tar_with(tmp_path / ARCHIVE, (member, b"hello"))
    with pytest.raises(ValueError, match=r"binary\.tar\.gz must .*"):
        read_cifar10(tmp_path)


def test_more_files_than_any_cifar_has(tmp_path: Path):
    empty = [(tarfile.TarInfo(f"file-{number}"), b"") for number in range(101)]
    tar_with(tmp_path / ARCHIVE, *empty)
    with pytest.raises(ValueError, match="damaged: it holds more than 100 files"):
        read_cifar10(tmp_path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # 64 MB of zeros in 64 kB, where a small CIFAR would unpack to 4 MB.
    monkeypatch.setattr("noiseproof.data.cifar.MOST_RECORDS", 1000)
    header = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
    header.size = 64 << 20
    bomb = gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(1 << 23)) * 8
    (tmp_path / ARCHIVE).write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match="damaged: it unpacks to more than 4121576 bytes"):
        read_cifar10(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20


def test_a_pipe_or_a_device_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / ARCHIVE)
    with pytest.raises(ValueError, match="must be a regular file, got a folder, a pipe or a dev"):
        read_cifar10(tmp_path)
    (tmp_path / ARCHIVE).unlink()
    (tmp_path / "data_batch_1.bin").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"data_batch_1\.bin must be a regular file"):
        read_cifar10(tmp_path)

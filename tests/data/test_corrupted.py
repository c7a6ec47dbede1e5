"""The readers of CIFAR-10-C and MNIST-C arrays, on small generated files, whole and broken."""

import os

import numpy as np
import pytest

from noiseproof.data.corrupted import read_cifar10_c, read_mnist_c

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
LABELS = np.tile(np.array([3, 1, 4, 1]), 5).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "fog.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    return tmp_path


def test_severities_follow_each_other_and_nothing_is_loaded(folder):
    for severity in (1, 3, 5):
        batch = read_cifar10_c(folder, "fog", severity)
        np.testing.assert_array_equal(batch.images, IMAGES[4 * severity - 4 : 4 * severity])
        np.testing.assert_array_equal(batch.labels, [3, 1, 4, 1])
        assert batch.labels.dtype == np.int32
        assert isinstance(batch.images, np.memmap)


def test_mnist_c_is_one_folder_per_corruption(tmp_path):
    (tmp_path / "zigzag").mkdir()
    images = IMAGES[:4, :28, :28, :1]
    np.save(tmp_path / "zigzag" / "test_images.npy", images)
    np.save(tmp_path / "zigzag" / "test_labels.npy", LABELS[:4].astype(np.int64))
    batch = read_mnist_c(tmp_path, "zigzag")
    np.testing.assert_array_equal(batch.images, images)
    assert batch.labels.tolist() == [3, 1, 4, 1]
    with pytest.raises(ValueError, match=r"train_images\.npy is missing"):
        read_mnist_c(tmp_path, "zigzag", part="train")
    with pytest.raises(ValueError, match="part must be train or test, got both"):
        read_mnist_c(tmp_path, "zigzag", part="both")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES.astype(np.float32), "must hold uint8 images, got float32"),
        (IMAGES[:, 0, 0], "must have the shape .*, got 20 x 3"),
        (IMAGES[..., :2], "1 or 3 channels, got 20 x 32 x 32 x 2"),
        (IMAGES[:19], "must hold five times the same images, got 19 in all"),
        (IMAGES[:0], "must hold images, got 0 x 32 x 32 x 3"),
        (IMAGES[:, :0], "must hold images, got 20 x 0 x 32 x 3"),
        (IMAGES[:15], r"labels.npy must hold 3 or 15 labels, got shape 20"),
    ],
    ids=["floats", "rank", "channels", "length", "empty", "no height", "labels"],
)
def test_images_of_another_kind_are_refused(folder, images, words):
    np.save(folder / "fog.npy", images)
    with pytest.raises(ValueError, match=words):
        read_cifar10_c(folder, "fog", 1)


def test_files_cut_short_or_with_objects_are_refused(folder):
    content = (folder / "fog.npy").read_bytes()
    for cut in (len(content) - 1, 200, 20, 0):
        (folder / "fog.npy").write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"fog\.npy must be a whole .npy file"):
            read_cifar10_c(folder, "fog", 1)
    np.save(folder / "fog.npy", np.array([{}, None], dtype=object))
    with pytest.raises(ValueError, match=r"fog\.npy must be a whole .npy file of plain numbers"):
        read_cifar10_c(folder, "fog", 1)
    with (folder / "fog.npy").open("wb") as file:
        np.savez(file, images=IMAGES)
    with pytest.raises(ValueError, match=r"fog\.npy must be a single array, got an archive"):
        read_cifar10_c(folder, "fog", 1)


def test_labels_of_another_kind_are_refused(folder):
    np.save(folder / "labels.npy", LABELS.astype(float))
    with pytest.raises(ValueError, match=r"labels\.npy must hold whole numbers, got float64"):
        read_cifar10_c(folder, "fog", 1)
    np.save(folder / "labels.npy", np.arange(20) % 10)
    with pytest.raises(ValueError, match=r"labels\.npy must repeat its labels for every severity"):
        read_cifar10_c(folder, "fog", 1)


def test_severities_and_files_that_are_none_are_refused(folder):
    for severity, shown in ((0, "0"), ("3", "'3'"), (None, "None"), (2.5, "2.5"), (np.nan, "nan")):
        expected = f"severity must be a whole number from 1 to 5, got {shown}."
        with pytest.raises(ValueError, match=expected):
            read_cifar10_c(folder, "fog", severity)
    with pytest.raises(ValueError, match=r"mist\.npy is missing"):
        read_cifar10_c(folder, "mist", 1)
    with pytest.raises(ValueError, match=r"corruption must be the name of a file, got '\.\./fog'"):
        read_cifar10_c(folder, "../fog", 1)


@pytest.mark.parametrize("wrong", [-1, 10, 255, 2**31 + 3, 2**32 + 3, -(2**63)])
def test_labels_out_of_range_never_become_others(folder, wrong):
    labels = LABELS.astype(np.int64)
    labels[::4] = wrong
    np.save(folder / "labels.npy", labels)
    with pytest.raises(ValueError, match=rf"labels\.npy must .* got {wrong}\."):
        read_cifar10_c(folder, "fog", 1)


def test_a_hundred_classes_where_they_are_said(folder):
    np.save(folder / "labels.npy", LABELS + 90)
    assert read_cifar10_c(folder, "fog", 1, num_classes=100).labels.tolist() == [93, 91, 94, 91]


@pytest.mark.parametrize("labels", [LABELS[:4], LABELS[:, None], LABELS[None].astype(np.uint64)])
def test_labels_once_or_in_a_column_and_paths_as_text(folder, labels):
    np.save(folder / "labels.npy", labels)
    batch = read_cifar10_c(str(folder), "fog", 2.0)
    np.testing.assert_array_equal(batch.images, IMAGES[4:8])
    assert batch.labels.tolist() == [3, 1, 4, 1]


def test_a_pipe_is_refused_and_not_waited_for(folder):
    (folder / "labels.npy").unlink()
    os.mkfifo(folder / "labels.npy")
    with pytest.raises(
        ValueError, match=r"labels\.npy must be a regular file, got a folder, a pipe"
    ):
        read_cifar10_c(folder, "fog", 1)

"""Images and labels in the forms in which others' tools write them come out right, and said."""

import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from noiseproof.data import load_dataset
from noiseproof.data.hdf5 import read_hdf5
from noiseproof.data.matlab import read_matlab
from noiseproof.data.npz import read_npz

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (80, 6, 8, 3), dtype=np.uint8)
TEST = RNG.integers(0, 256, (12, 6, 8, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (80, 6, 6), dtype=np.uint8)
LABELS, TEST_LABELS = np.arange(80) % 4, np.arange(12) % 4
WHOLE = {"x_train": TRAIN, "y_train": LABELS, "x_test": TEST, "y_test": TEST_LABELS}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own.npz"


def said(source) -> str:
    assert all("\n" not in notice and len(notice) < 500 for notice in source.notices)
    return " ".join(source.notices)


def read(path: Path, **changes: np.ndarray):
    np.savez(path, **WHOLE | changes)
    return read_npz(path)


def test_bytes_with_labels_from_0_need_no_notice(path: Path):
    assert read(path).notices == ()


@pytest.mark.parametrize(
    "names",
    [
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("trainX", "trainY", "testX", "testY"),
        ("training.data", "training.targets", "testing.data", "testing.targets"),
    ],
)
def test_names_of_other_tools(path: Path, names: tuple[str, ...]):
    np.savez(path, **dict(zip(names, WHOLE.values(), strict=True)), classes=np.arange(3))
    source = read_npz(path)
    np.testing.assert_array_equal(source.train.images, TRAIN)
    np.testing.assert_array_equal(source.test.labels, TEST_LABELS)


def test_medmnist(path: Path):
    parts = {"train": 80, "val": 16, "test": 12}
    arrays = {f"{part}_images": GREY[:count] for part, count in parts.items()}
    arrays |= {f"{part}_labels": np.arange(count)[:, None] % 4 for part, count in parts.items()}
    np.savez(path, **arrays)
    source = read_npz(path)
    assert source.train.images.shape == (96, 6, 6, 1)
    np.testing.assert_array_equal(source.train.images[80:, ..., 0], GREY[:16])
    np.testing.assert_array_equal(source.train.labels[80:], np.arange(16) % 4)
    assert f"{path}: validation images join the training images." in source.notices
    assert f"train_labels in {path}: 80 x 1 values are taken as one a line." in source.notices
    assert load_dataset(path).notices == source.notices


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS[:, None].astype(np.uint8), "80 x 1 values are taken as one a line"),
        (np.eye(4)[LABELS], "one-hot rows are taken as classes"),
        (np.eye(4, dtype=bool)[LABELS], "one-hot rows are taken as classes"),
        (LABELS.astype(np.float32), "float32 is taken as whole numbers"),
        (LABELS + 1, "labels 1, 2, 3, 4 are renumbered 0 to 3, in order"),
        (LABELS.astype(np.uint64) * 5 + 7, "labels 7, 12, 17, 22 are renumbered 0 to 3"),
        (np.array(["ant", "bee", "cat", "dog"])[LABELS], "order 'ant', 'bee', 'cat', 'dog'"),
        (np.array([b"ant", b"bee", b"cat", b"dog"])[LABELS], "order 'ant', 'bee', 'cat', 'dog'"),
        (np.array(["ñ", "ö", "ü", "中"])[LABELS], "order 'ñ', 'ö', 'ü', '中'"),
    ],
)
def test_forms_of_labels(path: Path, labels: np.ndarray, words: str):
    source = read(path, y_train=labels, y_test=labels[:12])
    np.testing.assert_array_equal(source.train.labels, LABELS)
    np.testing.assert_array_equal(source.test.labels, TEST_LABELS)
    assert source.train.labels.dtype == np.int32
    assert source.num_classes == 4
    assert words in said(source)


def test_true_and_false(path: Path):
    source = read(path, y_train=LABELS > 1, y_test=TEST_LABELS > 1)
    np.testing.assert_array_equal(source.train.labels, LABELS // 2)
    assert "false is class 0, true is class 1" in said(source)


def test_1_to_10_and_a_class_that_the_test_set_lacks(path: Path):
    labels = np.arange(80) % 10 + 1
    source = read(path, y_train=labels, y_test=labels[:9].repeat(2)[:12])
    np.testing.assert_array_equal(source.train.labels, labels - 1)
    assert "labels 1, 2, 3, 4, 5, 6, ..., 10 are renumbered 0 to 9, in order" in said(source)
    assert f"y_test in {path} has no image of class 7, 8, 9, 10." in source.notices


FLOATS = TRAIN / np.float32(255)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (FLOATS, "float32 up to 1 is taken as 0 to 1"),
        (FLOATS.astype(np.float64) + 1e-7, "float64 up to 1 is taken as 0 to 1"),
        (TRAIN.astype(np.float32), "float32 up to 255 is taken as 0 to 255"),
        (TRAIN.astype(np.int64), "int64 up to 255 is taken as 0 to 255"),
        (TRAIN.astype(">u2") * 257, "up to 65535 is taken as 0 to 65535"),
        (TRAIN.transpose(0, 3, 1, 2), "the second axis is taken as that of the colors"),
        (np.moveaxis(TRAIN, 0, -1), "the last axis is taken as that of the images"),
        (np.insert(TRAIN, 3, 9, axis=3), "the fourth channel is taken as transparency"),
        (np.asfortranarray(TRAIN), ""),
        (TRAIN.astype(np.uint8, order="F")[::-1][::-1], ""),
    ],
)
def test_forms_of_images(path: Path, images: np.ndarray, words: str):
    batch_axis = images.shape.index(80)
    source = read(path, x_train=images, x_test=images.take(range(12), axis=batch_axis))
    np.testing.assert_array_equal(source.train.images, TRAIN)
    np.testing.assert_array_equal(source.test.images, TRAIN[:12])
    assert source.train.images.dtype == np.uint8
    assert source.train.images.flags["C_CONTIGUOUS"]
    assert words in said(source)


def test_flat_squares_and_black_and_white(path: Path):
    source = read(path, x_train=GREY.reshape(80, 36), x_test=GREY[:12].reshape(12, 36))
    np.testing.assert_array_equal(source.train.images[..., 0], GREY)
    assert "rows are taken as images of 6 x 6" in said(source)
    for images in (GREY > 99, (GREY > 99).astype(np.uint8), (GREY > 99).astype(np.int64)):
        source = read(path, x_train=images, x_test=images[:12])
        np.testing.assert_array_equal(source.train.images[..., 0], (GREY > 99) * 255)
        assert "up to 1 is taken as 0 to 1" in said(source)


def test_three_colors_of_width_three_stay_as_they_are(path: Path):
    images = RNG.integers(0, 256, (80, 3, 5, 3), dtype=np.uint8)
    source = read(path, x_train=images, x_test=images[:12])
    np.testing.assert_array_equal(source.train.images, images)
    assert source.notices == ()


def test_no_test_images(path: Path):
    numbers = np.zeros((100, 2, 2), np.uint8)
    numbers[:, 0, 0] = np.arange(100)
    np.savez(path, X=numbers, y=np.arange(100) % 4)
    source, again = read_npz(path), read_npz(path)
    assert len(source.test.labels) == 20
    assert np.bincount(source.test.labels).tolist() == [5] * 4
    both = np.concatenate([source.train.images, source.test.images])[:, 0, 0, 0]
    assert sorted(both) == list(range(100))
    np.testing.assert_array_equal(source.train.labels, source.train.images[:, 0, 0, 0] % 4)
    np.testing.assert_array_equal(source.test.images, again.test.images)
    assert f"{path} has no test images: 20 of the others are set aside as such" in said(source)


@pytest.mark.parametrize("grouped", [False, True])
def test_hdf5(tmp_path: Path, grouped: bool):
    path = tmp_path / "own.h5"
    names = [
        f"{part}{'/' if grouped else '_'}{kind}" for part in ("train", "test") for kind in "xy"
    ]
    with h5py.File(path, "w") as file:
        for name, values in zip(names, WHOLE.values(), strict=True):
            file.create_dataset(name, data=values, compression="gzip")
        file["extra"] = np.zeros(3)
    source = read_hdf5(path)
    np.testing.assert_array_equal(source.train.images, TRAIN)
    np.testing.assert_array_equal(source.test.labels, TEST_LABELS)
    assert source.notices == ()
    assert load_dataset(path).name == "own"


def test_hdf5_with_text_and_without_test_images(tmp_path: Path):
    path = tmp_path / "own.hdf5"
    with h5py.File(path, "w") as file:
        file["images"] = TRAIN
        file["labels"] = [("ant", "bee", "cat", "dog")[label] for label in LABELS]
    source = read_hdf5(path)
    assert len(source.train.labels) == 64
    assert "in the order 'ant', 'bee', 'cat', 'dog'" in said(source)


def test_hdf5_reads_no_other_file(tmp_path: Path):
    secret, path = tmp_path / "secret.h5", tmp_path / "own.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = TRAIN
    (tmp_path / "raw.bin").write_bytes(TRAIN.tobytes())
    layout = h5py.VirtualLayout(TRAIN.shape, np.uint8)
    layout[...] = h5py.VirtualSource(secret, "x", TRAIN.shape)
    for way in ("link", "external", "virtual"):
        with h5py.File(path, "w") as file:
            file["y"] = LABELS
            if way == "link":
                file["x"] = h5py.ExternalLink(secret, "x")
            elif way == "external":
                raw = [(str(tmp_path / "raw.bin"), 0, TRAIN.nbytes)]
                file.create_dataset("x", TRAIN.shape, np.uint8, external=raw)
            else:
                file.create_virtual_dataset("x", layout)
        with pytest.raises(ValueError, match=r"lacks images of train|must lie in the file itself"):
            read_hdf5(path)


def test_hdf5_that_announces_what_it_does_not_hold(tmp_path: Path):
    path = tmp_path / "own.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10**6, 1000, 1000), np.uint8, chunks=(1, 1000, 1000))
        file["y"] = LABELS
    with pytest.raises(ValueError, match=r"x in .* announces 1000000000000 bytes, more than"):
        read_hdf5(path)


def test_svhn(tmp_path: Path, generate):
    generate.write_svhn(tmp_path / "svhn")
    for source in (
        read_matlab(tmp_path / "svhn" / "train_32x32.mat"),
        load_dataset("svhn", data_dir=tmp_path),
    ):
        test = generate.random_images(20, 32, 32, 3, seed=20)
        np.testing.assert_array_equal(source.test.images, test)
        np.testing.assert_array_equal(source.test.labels, np.arange(20) % 10)
        assert "labels 1, 2, 3, 4, 5, 6, ..., 10 are renumbered 0 to 9" in said(source)
    assert "test images are taken from test_32x32.mat" in said(source)
    assert "train_32x32.mat is not the official file" in said(source)


def test_matlab_of_version_7_3_is_hdf5_with_its_axes_reversed(tmp_path: Path):
    path = tmp_path / "own.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in WHOLE.items():
            # MATLAB's arrays have two axes at least: labels are a column.
            file[name] = values.T if values.ndim > 1 else values[None]
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + path.read_bytes()[512:])
    source = read_matlab(path)
    np.testing.assert_array_equal(source.train.images, TRAIN)
    np.testing.assert_array_equal(source.train.labels, LABELS)


@pytest.mark.parametrize(
    ("suffix", "module"), [(".h5", "h5py"), (".mat", "scipy.io"), ("", "PIL.Image")]
)
def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch, suffix: str, module: str):
    path = tmp_path / f"own{suffix}"
    path.touch() if suffix else path.mkdir()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"own.* needs \w+, which is not installed: pip install"):
        load_dataset(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".mat"])
def test_what_is_no_file_is_refused(tmp_path: Path, suffix: str):
    for name, words in (("none", "is missing"), ("folder", "regular file"), ("pipe", "regular")):
        path = tmp_path / f"{name}{suffix}"
        if name == "folder":
            path.mkdir()
        elif name == "pipe":
            os.mkfifo(path)
        with pytest.raises(ValueError, match=words):
            load_dataset(path)
    device = tmp_path / f"device{suffix}"
    device.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="must be a regular file, got a folder, a pipe"):
        load_dataset(device)


def test_paths_that_would_break_a_message(tmp_path: Path):
    with pytest.raises(ValueError, match=r"A path must be printable .*, got 'a\\nb\.npz'\.$"):
        load_dataset("a\nb.npz")
    with pytest.raises(ValueError, match=r"of at most 255 letters, got '/a/a/.*\.\.\.\.$"):
        load_dataset("/a" * 4000 + ".npz")

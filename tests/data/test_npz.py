"""A user's own images are taken as they are, or refused in one clear line."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from noiseproof.data import load_dataset
from noiseproof.data.npz import read_npz

RNG = np.random.default_rng(0)


def arrays(*image_shape: int, num_classes: int = 4) -> dict[str, np.ndarray]:
    shape = image_shape or (6, 6)
    return {
        "x_train": RNG.integers(0, 256, (80, *shape), dtype=np.uint8),
        "y_train": np.arange(80) % num_classes,
        "x_test": RNG.integers(0, 256, (12, *shape), dtype=np.uint8),
        "y_test": np.arange(12) % num_classes,
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flowers.npz"


def read_error(path: Path) -> str:
    with pytest.raises(ValueError, match=r"must|missing") as caught:
        read_npz(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 1), (6, 8, 3)])
def test_images_come_back(path: Path, shape: tuple[int, ...]):
    written = arrays(*shape)
    np.savez(path, **written)
    source = read_npz(path)
    assert source.name == "flowers"
    assert source.num_classes == 4
    assert source.train.images.shape == (80, *shape, 1)[:4]
    np.testing.assert_array_equal(source.train.images.ravel(), written["x_train"].ravel())
    np.testing.assert_array_equal(source.test.labels, written["y_test"])
    assert source.train.labels.dtype == np.int32


def test_fortran_order_comes_out_contiguous(path: Path):
    written = arrays(6, 6, 3)
    np.savez_compressed(path, **written | {"x_train": np.asfortranarray(written["x_train"])})
    images = read_npz(path).train.images
    assert images.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(images, written["x_train"])


def test_it_is_a_data_set_like_any_other(path: Path):
    np.savez(path, **arrays())
    dataset = load_dataset(path, image_size=3)
    assert (dataset.name, dataset.num_classes) == ("flowers", 4)
    assert dataset.outer.images.shape == (16, 3, 3, 1)
    np.testing.assert_array_equal(load_dataset(str(path)).test.labels, dataset.test.labels)


def test_too_small_to_split(path: Path):
    np.savez(path, **arrays(num_classes=12))
    with pytest.raises(
        ValueError, match=r"at least 84 training images for its 12 classes.* got 80"
    ):
        load_dataset(path)


def test_missing(path: Path):
    assert read_error(path) == f"{path} is missing."


def test_missing_keys_are_named(path: Path):
    written = arrays()
    del written["y_train"], written["x_test"]
    np.savez(path, **written)
    assert read_error(path) == (
        f"{path} must hold images and labels of each part, "
        "but lacks labels of train, images of test."
    )


def test_names_that_say_nothing_are_shown(path: Path):
    np.savez(path, a=np.zeros(3), weights=np.zeros(3))
    assert read_error(path) == (
        f"{path} must hold x_train, y_train, x_test, y_test, or other names of images and labels, "
        "got 'a', 'weights'."
    )


def test_two_names_of_one_thing(path: Path):
    np.savez(path, **arrays(), train_images=np.zeros((80, 6, 6), np.uint8))
    assert read_error(path) == (
        f"{path} must hold one array of images of train, got 'x_train', 'train_images'."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_test": np.zeros((12, 37), np.uint8)},
            "x_test in {} must be N x H x W or N x H x W x C, or rows of a square, "
            "got shape (12, 37).",
        ),
        (
            {"x_train": np.zeros((80, 6, 6, 5), np.uint8)},
            "x_train in {} must have 1 or 3 channels, last axis, got 5.",
        ),
        (
            {"x_train": np.zeros((80, 0, 6), np.uint8)},
            "x_train in {} must hold images, got shape (80, 0, 6).",
        ),
        (
            {"x_train": np.zeros((80, 6, 6), complex)},
            "x_train in {} must hold numbers, got complex128.",
        ),
        (
            {"x_train": np.full((80, 6, 6), np.nan)},
            "x_train in {} must lie in [0, 1] or from 0 to 255, got nan.",
        ),
        (
            {"x_train": np.full((80, 6, 6), -1.0)},
            "x_train in {} must lie in [0, 1] or from 0 to 255, got -1.",
        ),
        (
            {
                "x_train": np.full((80, 6, 6), 300, np.int16),
                "x_test": np.full((12, 6, 6), 300, np.int16),
            },
            "x_train in {} must lie in [0, 1] or from 0 to 255, got 300.",
        ),
        (
            {"x_train": np.full((80, 6, 6), 0.5), "x_test": np.full((12, 6, 6), 99.0)},
            "x_train in {} must have the range of the other parts, but they go to 0.5 and 99.",
        ),
        (
            {"x_test": np.zeros((12, 6, 6))},
            "x_test in {} must be uint8 as the training images are, got float64.",
        ),
        (
            {"y_train": np.arange(80) % 4 + 0.5},
            "y_train in {} must hold whole numbers between 0 and 2147483647, got 0.5.",
        ),
        (
            {"y_test": np.full((12, 4), 1)},
            "y_test in {} must hold one class an image, got no one-hot rows (12 x 4).",
        ),
        (
            {"y_test": np.full(12, 2**32 + 3)},
            "y_test in {} must lie between 0 and 2147483647, got 4294967299.",
        ),
        (
            {"y_test": np.full(12, -1)},
            "y_test in {} must lie between 0 and 2147483647, got -1.",
        ),
        (
            {"y_train": np.zeros(80, int)},
            "y_train in {} must have at least two classes, got only 0.",
        ),
        (
            {"y_train": np.arange(79) % 4},
            "y_train in {} must hold one label for each of 80 images, got 79.",
        ),
        (
            {"y_test": np.arange(13) % 4},
            "y_test in {} must hold one label for each of 12 images, got 13.",
        ),
        (
            {"x_test": np.zeros((12, 6, 7), np.uint8)},
            "x_test in {} must hold images of shape (6, 6, 1) as the training images are, "
            "got (6, 7, 1).",
        ),
        (
            {"y_test": np.array([0, 1, 2, 3, 4, 5] * 2)},
            "y_test in {} must hold classes of the training labels only, got 4, 5 beyond.",
        ),
        (
            {"y_test": np.array(["a", "b"] * 6)},
            "y_test in {} must be of the kind of the training labels, numbers or text.",
        ),
    ],
)
def test_arrays_that_do_not_fit(path: Path, changes: dict[str, np.ndarray], message: str):
    np.savez(path, **arrays() | changes)
    assert read_error(path) == message.format(path)


class Bomb:
    """Fails the test if anyone unpickles it."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_objects_are_refused_unread(path: Path):
    np.savez(path, **arrays() | {"x_train": np.array([Bomb()], object)})
    expected = f"x_train in {path} must be a whole, plain array: Object arrays cannot be loaded"
    assert read_error(path).startswith(expected)


def test_a_pickle_is_refused_unread(path: Path):
    # What `pickle.dumps(Bomb())` writes, in the oldest protocol.
    path.write_bytes(b"cpytest\nfail\n(S'unpickled'\ntR.")
    assert read_error(path).startswith(f"{path} must be a whole .npz file")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_no_zip_at_all(path: Path, content: bytes):
    path.write_bytes(content)
    assert read_error(path) == (
        f"{path} must be a whole .npz file; it is of another kind, or cut off."
    )


def test_a_single_array_is_no_npz(path: Path):
    with path.open("wb") as stream:
        np.save(stream, arrays()["x_train"])
    assert read_error(path).startswith(f"{path} must be a whole .npz file")


def test_a_member_that_is_no_array(path: Path):
    np.savez(path, **{key: value for key, value in arrays().items() if key != "x_train"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", b"text")
    assert read_error(path).startswith(f"x_train in {path} must be")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_off(path: Path, share: float):
    np.savez(path, **arrays())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert read_error(path).startswith(f"{path} must be a whole .npz file")


def test_flipped_bytes_never_pass_as_other_images(path: Path):
    written, stream = arrays(), io.BytesIO()
    np.savez_compressed(stream, **written)
    content = stream.getvalue()
    for place in np.random.default_rng(1).integers(0, len(content), 100):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            source = read_npz(path)
        except ValueError:
            continue
        np.testing.assert_array_equal(source.train.images[..., 0], written["x_train"])
        np.testing.assert_array_equal(source.test.labels, written["y_test"])

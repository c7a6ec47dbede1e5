"""Folders of images by class."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseproof.data import load_dataset
from noiseproof.data.images_folder import read_images_folder

RNG = np.random.default_rng(0)
CLASSES = ("ant", "bee", "cat")


def write(folder: Path, part: str, count: int, *shape: int, classes=CLASSES) -> np.ndarray:
    """Random images, `count` a class, in the order in which they are to be read."""
    images = RNG.integers(0, 256, (len(classes) * count, *(shape or (5, 7, 3))), dtype=np.uint8)
    for number, image in enumerate(images):
        place = folder / part / classes[number // count]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:03}.png")
    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bugs"


def error(folder: Path) -> str:
    with pytest.raises(ValueError, match="must") as caught:
        read_images_folder(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_train_and_test(folder: Path):
    train, test = write(folder, "train", 10), write(folder, "test", 2)
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    (folder / "readme.md").write_text("nor this")
    (folder / "train" / "ant" / "._000.png").write_text("nor that")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    Image.fromarray(test[0]).save(folder / "train" / ".ipynb_checkpoints" / "000.png")
    source = read_images_folder(folder)
    np.testing.assert_array_equal(source.train.images, train)
    np.testing.assert_array_equal(source.test.images, test)
    np.testing.assert_array_equal(source.train.labels, np.repeat([0, 1, 2], 10))
    assert source.num_classes == 3
    (notice,) = source.notices
    assert notice.endswith("classes are numbered from 0 in the order 'ant', 'bee', 'cat'.")
    assert load_dataset(folder).name == "bugs"


def test_classes_alone_and_grey(folder: Path):
    images = write(folder, "", 10, 6, 6)
    source = read_images_folder(folder)
    both = np.concatenate([source.train.images, source.test.images])[..., 0]
    assert sorted(map(bytes, both)) == sorted(map(bytes, images))
    assert np.bincount(source.test.labels).tolist() == [2, 2, 2]
    assert f"{folder} has no test images: 6 of the others" in source.notices[-1]


def test_validation_images_join(folder: Path):
    for part, count in (("train", 8), ("valid", 2), ("test", 1)):
        write(folder, part, count)
    source = read_images_folder(folder)
    assert len(source.train.labels) == 30
    assert any("validation images join" in notice for notice in source.notices)


def test_kinds_of_images_are_brought_together(folder: Path):
    write(folder, "", 10)
    color = np.zeros((5, 7, 3), np.uint8)
    color[..., 0] = 200
    place = folder / "ant"
    Image.fromarray(color).convert("RGBA").save(place / "a.png")
    Image.fromarray(color).convert("P").save(place / "b.gif")
    Image.fromarray(color[..., 0]).save(place / "c.png")
    Image.fromarray(color[..., 0].astype(np.uint16) * 257).save(place / "d.png")
    source = read_images_folder(folder)
    said = " ".join(source.notices)
    assert "grey images are taken as color" in said
    assert "transparency is dropped" in said
    assert "16 bits are taken as 0 to 65535" in said


@pytest.mark.parametrize(
    ("name", "mode", "expected"),
    [
        ("a.png", "RGBA", [200, 0, 0]),
        ("a.gif", "P", [204, 0, 0]),
        ("a.png", "L", [60, 60, 60]),
        ("a.tiff", "CMYK", [200, 0, 0]),
    ],
)
def test_one_kind_of_image(folder: Path, name: str, mode: str, expected: list[int]):
    write(folder, "train", 10)
    place = folder / "test" / "ant"
    place.mkdir(parents=True)
    red = np.zeros((5, 7, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).convert(mode).save(place / name)
    source = read_images_folder(folder)
    # Pillow's palette has red in steps of 51; its grey is 0.299 of red.
    assert source.test.images[0, 2, 2].tolist() == expected
    assert any("has no image of class 'bee', 'cat'" in notice for notice in source.notices)


def test_16_bits(folder: Path):
    grey = np.arange(36, dtype=np.uint16).reshape(6, 6) * 7
    for part in ("train", "test"):
        write(folder, part, 10, 6, 6)
    Image.fromarray(grey * 257).save(folder / "test" / "ant" / "000.png")
    source = read_images_folder(folder)
    np.testing.assert_array_equal(source.test.images[0, ..., 0], grey)


def test_a_class_beyond_the_training_set_is_named(folder: Path):
    write(folder, "train", 10)
    write(folder, "test", 1, classes=("ant", "eel"))
    assert "hold classes of the training labels only, got 'eel' beyond." in error(folder)


def test_images_of_another_size_are_named(folder: Path):
    write(folder, "train", 10)
    write(folder, "test", 1, 5, 8, 3)
    assert error(folder) == (
        f"{folder}/test/ant/000.png must have 7 x 5 pixels as the first image has, got 8 x 5: "
        "resize all to one size."
    )


def test_no_images_by_class(folder: Path):
    folder.mkdir()
    assert error(folder).startswith(f"{folder} must hold a folder of images for each class")


def test_what_is_no_image(folder: Path):
    write(folder, "train", 10)
    path = folder / "train" / "bee" / "013.png"
    whole = path.read_bytes()
    for content in (b"", b"GIF89a", whole[:40], whole[: len(whole) // 2], b"%!PS-Adobe"):
        path.write_bytes(content)
        assert error(folder).startswith(f"{path} must be a whole image: ")
    path.unlink()
    os.mkfifo(path)
    assert error(folder).startswith(f"{path} must be a regular file")


def test_an_image_that_says_it_is_huge(folder: Path):
    write(folder, "train", 10)
    path = folder / "train" / "ant" / "000.png"
    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    whole = path.read_bytes()
    path.write_bytes(whole[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:])
    assert error(folder).startswith(f"{path} must have at most 16777216 pixels, got 12000 x 12000")

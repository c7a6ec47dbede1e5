"""A folder of images by class, `train/NAME/*.png` and `test/NAME/*`, by way of Pillow.

Without `train` and `test` the classes lie in the folder itself. Classes are numbered by name.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from noiseproof.data.array_file import Part, assembled
from noiseproof.data.dataset import Source
from noiseproof.data.trust import reason, require_regular
from noiseproof.extras import library
from noiseproof.messages import require_printable

SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

GREY = ("1", "L", "I;16", "I;16B", "I;16L", "I")
"""Pillow's modes of images without color; `LA` and `La` are grey with transparency."""

MOST_PIXELS = 1 << 24
"""Pixels of an image at most: a small file may say that it is as large as a country."""


class Picture(NamedTuple):
    """One image file, before its pixels are read.

    Attributes:
        path: Where it lies.
        size: Width and height.
        mode: Pillow's word for its colors.
    """

    path: Path
    size: tuple[int, int]
    mode: str


def read_images_folder(folder: Path) -> Source:
    """Reads a data set that is named after its folder. All images must have one size.

    Raises:
        ValueError: There are no images by class, one is damaged or of another size, the test images
            have a class that the training images lack, or Pillow is not installed.
    """
    pillow = library("PIL.Image", f"Reading {folder}")
    places = {part: _place(folder, names) for part, names in FOLDERS.items()}
    found = {part: place for part, place in places.items() if place is not None}
    if "train" not in found:
        found = {"train": folder}
    pictures = {part: _pictures(pillow, place) for part, place in found.items()}
    modes = {picture.mode for group in pictures.values() for picture in group}
    num_channels = 1 if modes <= {*GREY, "LA", "La"} else 3
    _require_one_size([picture for group in pictures.values() for picture in group])
    parts = {
        part: Part(
            _pixels(pillow, group, num_channels, str(found[part])),
            np.array([picture.path.parent.name for picture in group]),
            f"images in {found[part]}",
            f"classes in {found[part]}",
        )
        for part, group in pictures.items()
    }
    return assembled(folder.name, str(folder), parts, _notices(modes, num_channels, folder))


def _place(folder: Path, names: Sequence[str]) -> Path | None:
    places = [folder / name for name in names if (folder / name).is_dir()]
    return places[0] if places else None


def _pictures(pillow: Any, folder: Path) -> list[Picture]:
    """The images of all classes, classes and files by name."""
    paths = []
    for place in _visible(folder):
        if place.is_dir():
            paths += [path for path in _visible(place) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise ValueError(
            f"{folder} must hold a folder of images for each class, as in train/NAME/1.png, "
            "got none."
        )
    return [_picture(pillow, path) for path in paths]


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without what systems hide there beside the user's files."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _picture(pillow: Any, path: Path) -> Picture:
    require_printable(path)
    require_regular(path)
    with _opened(pillow, path) as image:
        picture = Picture(path, image.size, image.mode)
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise ValueError(f"{path} must have at most {MOST_PIXELS} pixels, got {width} x {height}.")
    return picture


def _opened(pillow: Any, path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):
            return pillow.open(path, formats=FORMATS)
    # Damage makes Pillow raise whatever it stumbles over; so too below.
    except Exception as error:
        raise ValueError(f"{path} must be a whole image: {reason(error)}.") from None


def _require_one_size(pictures: Sequence[Picture]) -> None:
    first = pictures[0]
    for picture in pictures:
        if picture.size != first.size:
            raise ValueError(
                f"{picture.path} must have {first.size[0]} x {first.size[1]} pixels as the first "
                f"image has, got {picture.size[0]} x {picture.size[1]}: resize all to one size."
            )


def _pixels(
    pillow: Any, pictures: Sequence[Picture], num_channels: int, where: str
) -> Shaped[np.ndarray, "batch height width channels"]:
    width, height = pictures[0].size
    try:
        pixels = np.empty((len(pictures), height, width, num_channels), np.uint8)
    except MemoryError:
        raise ValueError(f"{where} must fit into memory, but holds too many pixels.") from None
    for target, picture in zip(pixels, pictures, strict=True):
        with _opened(pillow, picture.path) as image:
            try:
                with warnings.catch_warnings(action="ignore"):
                    target[...] = _levels(image, num_channels)
            except Exception as error:
                raise ValueError(
                    f"{picture.path} must be a whole image: {reason(error)}."
                ) from None
    return pixels


def _levels(image: Any, num_channels: int) -> Shaped[np.ndarray, "height width channels"]:
    if image.mode.startswith("I"):
        # 16 bits, which Pillow would clip at 255.
        grey = np.asarray(image)[..., None].astype(np.float64) / 257
        return np.rint(np.clip(grey, 0, 255)).repeat(num_channels, axis=-1)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    levels = np.asarray(image.convert("L" if num_channels == 1 else "RGB"))
    return levels.reshape(*levels.shape[:2], num_channels)


def _notices(modes: set[str], num_channels: int, folder: Path) -> list[str]:
    notices = []
    if num_channels == 3 and modes & {*GREY, "LA", "La"}:
        notices.append(f"{folder}: grey images are taken as color, since others have color.")
    if modes & {"RGBA", "RGBa", "LA", "La", "PA"}:
        notices.append(f"{folder}: transparency is dropped.")
    if any(mode.startswith("I") for mode in modes):
        notices.append(f"{folder}: 16 bits are taken as 0 to 65535.")
    return notices

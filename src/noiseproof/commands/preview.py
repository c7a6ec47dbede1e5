"""A contact sheet: one image of a data set under every corruption at every severity."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import PRNGKeyArray, UInt8
from PIL import Image as Picture
from PIL import ImageDraw

from noiseproof.corruptions import corrupt
from noiseproof.corruptions.apply import check_channels, find_corruption
from noiseproof.corruptions.families import FAMILY_OF, for_channels
from noiseproof.corruptions.keys import as_key
from noiseproof.data import load_dataset
from noiseproof.files import check_writable
from noiseproof.messages import short
from noiseproof.terminal.notices import tell_notices

CELL = 64
"""Pixels of a cell's side; images are enlarged by a whole factor to at least that."""

MARGIN = 4
LABEL_WIDTH = 130
"""Pixels of the names on the left, or more where one is longer."""

Report = Callable[[str, int, int], None]


def preview(
    dataset: str | Path,
    out: Path,
    *,
    data_dir: Path | None = None,
    corruptions: Sequence[str] | None = None,
    image: int = 0,
    seed: int = 0,
    report: Report = lambda _name, _done, _total: None,
) -> Path:
    """Draws a sheet with one row per corruption: the clean image, then severities 1 to 5.

    Args:
        dataset: A name, a file or a folder, as `load_dataset` takes it.
        out: The picture to write, a new file in a folder that exists; its ending says the format.
        data_dir: The folder with the files of the data sets.
        corruptions: Names; by default all that have a family.
        image: The number of the test image.
        seed: Of all random draws.
        report: Told of `(corruption, rows done, rows in all)`.

    Raises:
        ValueError: A name, the number, the seed, the ending or the folder is wrong; nothing is
            written then.
    """
    if Picture.registered_extensions().get(out.suffix.lower()) not in Picture.SAVE:
        raise ValueError(f"The sheet must be a picture such as sheet.png, got {short(out.name)}.")
    if out.exists():
        raise ValueError(f"The file {out} exists already: choose another with --out.")
    if not out.parent.is_dir():
        raise ValueError(f"The folder of the sheet must exist, got {short(str(out.parent))}.")
    key = as_key(seed)
    read = load_dataset(dataset, data_dir=data_dir)
    tell_notices(read)
    images = read.test.images
    if not 0 <= image < len(images):
        raise ValueError(f"image must lie between 0 and {len(images) - 1}, got {image}.")
    names = tuple(corruptions or for_channels(tuple(FAMILY_OF), images.shape[-1]))
    for name in names:
        check_channels(find_corruption(name), name, images.shape[-1])
    check_writable(out)
    rows = []
    for name in names:
        rows.append(severities(images, name, image, key))
        report(name, len(rows), len(names))
    draw_sheet(names, rows).save(out, optimize=True)
    return out


def severities(
    images: UInt8[np.ndarray, "batch height width channels"],
    name: str,
    image: int,
    key: PRNGKeyArray,
) -> UInt8[np.ndarray, "6 height width channels"]:
    """Image number `image`, clean and at severities 1 to 5: those of `noiseproof corrupt`."""
    clean = images[image : image + 1]
    corrupted = [corrupt(clean, name, severity, key, first=image) for severity in range(1, 6)]
    return np.concatenate([clean, *map(np.asarray, corrupted)])


def draw_sheet(
    names: Sequence[str], rows: Sequence[UInt8[np.ndarray, "6 height width channels"]]
) -> Picture.Image:
    """The rows of images under each other, with names on the left and severities on top."""
    height, width = rows[0].shape[1:3]
    factor = max(1, -(-CELL // max(height, width)))
    step = (factor * width + MARGIN, factor * height + MARGIN)
    labels = max(LABEL_WIDTH, *(2 * MARGIN + math.ceil(_text_width(name)) for name in names))
    size = (labels + 6 * step[0], 20 + len(rows) * step[1])
    sheet = Picture.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(("clean", *"12345")):
        pen.text((labels + column * step[0], 4), title, fill="black")
    for row, (name, images) in enumerate(zip(names, rows, strict=True)):
        top = 20 + row * step[1]
        pen.text((MARGIN, top + step[1] // 2 - 8), name, fill="black")
        for column, image in enumerate(images):
            shown = Picture.fromarray(image.squeeze()).convert("RGB")
            shown = shown.resize((factor * width, factor * height), Picture.Resampling.NEAREST)
            sheet.paste(shown, (labels + column * step[0], top))
    return sheet


def _text_width(text: str) -> float:
    return ImageDraw.Draw(Picture.new("L", (1, 1))).textlength(text)

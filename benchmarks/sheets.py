"""Images packed small, for a machine that has no data sets and takes few megabytes.

A sheet is a lossless WebP picture of many small images side by side, and its labels stand beside
it in a text file. CIFAR-10 takes 1.7 kB an image so, of 3.1 as arrays.

    python benchmarks/sheets.py --data DATA_FOLDER --out FOLDER

writes `first/` (all test images of CIFAR-10 that are used, two fifths of its training images, some
of MNIST and Fashion-MNIST: what one run needs) and `second/` (the other training images).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from noiseproof.data import DATASETS
from noiseproof.types import Batch

COLUMNS = 50
NUM_CIFAR_SHEETS, NUM_FIRST_SHEETS, NUM_CIFAR_TEST = 10, 4, 5_000
SHEET_SIZE = 5_000
GREY = {"fashion-mnist": 12_000, "mnist": 6_000}


def pack(batch: Batch, path: Path) -> None:
    """Writes `path`.webp and `path`.txt, of a multiple of `COLUMNS` images."""
    images = np.asarray(batch.images)
    num_images, height, width, channels = images.shape
    tiles = images.reshape(num_images // COLUMNS, COLUMNS, height, width, channels)
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * width, channels)
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").save(path.with_suffix(".webp"), lossless=True, quality=75, method=4)
    path.with_suffix(".txt").write_text(" ".join(map(str, batch.labels)))


def unpack(path: Path, side: int, *, grey: bool) -> Batch:
    """Reads what `pack` wrote."""
    sheet = np.asarray(Image.open(path.with_suffix(".webp")).convert("RGB"))
    sheet = sheet[..., :1] if grey else sheet
    tiles = sheet.reshape(-1, side, COLUMNS, side, sheet.shape[-1]).transpose(0, 2, 1, 3, 4)
    labels = np.array(path.with_suffix(".txt").read_text().split(), np.int32)
    return Batch(np.ascontiguousarray(tiles.reshape(-1, side, side, sheet.shape[-1])), labels)


def read(name: str, folders: list[Path]) -> Batch:
    """All sheets of a name in some folders, as one; those of `cifar-10-train` are many.

    Raises:
        ValueError: There is none.
    """
    found = {path.name: path for folder in folders for path in folder.glob(f"{name}*.webp")}
    if not found:
        raise ValueError(f"There is no sheet {name} in {', '.join(map(str, folders))}.")
    grey = not name.startswith("cifar")
    batches = [unpack(found[file], 28 if grey else 32, grey=grey) for file in sorted(found)]
    return Batch(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Packs images small.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cifar = DATASETS["cifar-10"](options.data)
    for index in range(NUM_CIFAR_SHEETS):
        folder = "first" if index < NUM_FIRST_SHEETS else "second"
        part = slice(index * SHEET_SIZE, (index + 1) * SHEET_SIZE)
        sheet = Batch(cifar.train.images[part], cifar.train.labels[part])
        pack(sheet, options.out / folder / f"cifar-10-train-{index}")
    test = Batch(cifar.test.images[:NUM_CIFAR_TEST], cifar.test.labels[:NUM_CIFAR_TEST])
    pack(test, options.out / "first" / "cifar-10-test")
    for name, count in GREY.items():
        train = DATASETS[name](options.data).train
        pack(Batch(train.images[:count], train.labels[:count]), options.out / "first" / name)


if __name__ == "__main__":
    main()

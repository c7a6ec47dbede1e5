"""Images packed small, for a machine that has no data sets and takes few megabytes.

A sheet is a lossless WebP picture of many small images side by side, and its labels stand beside
it in a text file. CIFAR-10 takes 1.7 kB an image so, of 3.1 as arrays.

    python benchmarks/sheets.py --data DATA_FOLDER --out FOLDER

writes `first/` and `second/`, each half of the training images of CIFAR-10, and `third/`, its test
images, so that they can travel one after another; and

    python benchmarks/sheets.py --unpack FOLDER/first FOLDER/second FOLDER/third --out DATA_FOLDER

makes of them the files that `data.name=cifar-10` reads.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from noiseproof.data import DATASETS
from noiseproof.data.cifar import CIFAR_10
from noiseproof.data.dataset import take
from noiseproof.types import Batch

COLUMNS = 50
SHEET_SIZE, SIDE = 5_000, 32
FOLDERS = {
    "first": ("train", range(5)),
    "second": ("train", range(5, 10)),
    "third": ("test", range(2)),
}


def pack(batch: Batch, path: Path) -> None:
    """Writes `path`.webp and `path`.txt, of a multiple of `COLUMNS` images."""
    images = np.asarray(batch.images)
    tiles = images.reshape(-1, COLUMNS, *images.shape[1:])
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * SIDE, images.shape[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path.with_suffix(".webp"), lossless=True, quality=75, method=4)
    path.with_suffix(".txt").write_text(" ".join(map(str, batch.labels)))


def unpack(path: Path) -> Batch:
    """Reads what `pack` wrote."""
    sheet = np.asarray(Image.open(path.with_suffix(".webp")).convert("RGB"))
    tiles = sheet.reshape(-1, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 1, 3, 4)
    labels = np.array(path.with_suffix(".txt").read_text().split(), np.int32)
    return Batch(np.ascontiguousarray(tiles.reshape(-1, SIDE, SIDE, 3)), labels)


def read(part: str, folders: list[Path]) -> Batch:
    """All sheets of `train` or `test` in some folders, as one.

    Raises:
        ValueError: There is none.
    """
    found = {path.name: path for folder in folders for path in folder.glob(f"{part}-*.webp")}
    if not found:
        raise ValueError(f"There is no sheet of {part} in {', '.join(map(str, folders))}.")
    batches = [unpack(found[file]) for file in sorted(found)]
    return Batch(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def records(batch: Batch) -> bytes:
    """Images in the binary version of CIFAR-10: a label, then red, green and blue row by row."""
    pixels = batch.images.transpose(0, 3, 1, 2).reshape(len(batch.labels), -1)
    return np.concatenate([batch.labels[:, None].astype(np.uint8), pixels], axis=1).tobytes()


def restore(folders: list[Path], out: Path) -> None:
    """Writes the files of CIFAR-10 of its sheets."""
    place = out / CIFAR_10.folder
    place.mkdir(parents=True, exist_ok=True)
    train = read("train", folders)
    parts = np.array_split(np.arange(len(train.labels)), len(CIFAR_10.train_files))
    for name, rows in zip(CIFAR_10.train_files, parts, strict=True):
        (place / name).write_bytes(records(take(train, rows)))
    (place / CIFAR_10.test_file).write_bytes(records(read("test", folders)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Packs images small.")
    parser.add_argument("--data", type=Path, help="where CIFAR-10 lies")
    parser.add_argument("--unpack", type=Path, nargs="*", help="folders of sheets")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.unpack:
        restore(options.unpack, options.out)
        return
    cifar = DATASETS["cifar-10"](options.data)
    for folder, (part, numbers) in FOLDERS.items():
        for number in numbers:
            rows = np.arange(number * SHEET_SIZE, (number + 1) * SHEET_SIZE)
            sheet = take(getattr(cifar, part), rows)
            pack(sheet, options.out / folder / f"{part}-{number}")


if __name__ == "__main__":
    main()

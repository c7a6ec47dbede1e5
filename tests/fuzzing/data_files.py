"""Damaged, truncated, lying and odd files for all readers of images, and what they may take."""

import gzip
import io
import math
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import scipy.io
from PIL import Image

from fuzzing.cases import Case, Files, damaged, require_short_line
from noiseproof.data import DATASETS, load_dataset
from noiseproof.data.corrupted import read_cifar10_c, read_mnist_c

NUM_IMAGES, NUM_TEST, SIZE = 80, 10, 6


class Input(NamedTuple):
    """What a reader is given.

    Attributes:
        kind: Its name in `KINDS`.
        files: What lies in its folder.
        corruption: Further arguments of readers of corrupted images.
        severity: Likewise.
    """

    kind: str
    files: Files
    corruption: str = "fog"
    severity: object = 1


def case(kind: str, rng: np.random.Generator) -> Case:
    """A case of a kind, see `KINDS`."""
    made = KINDS[kind](kind, rng)
    return Case(made.files, partial(_read_and_check, made))


def _read_and_check(one: Input, folder: Path) -> None:
    if one.kind.startswith(("cifar-10-c", "mnist-c")):
        if one.kind.startswith("cifar"):
            batches = [read_cifar10_c(folder, one.corruption, one.severity)]
        else:
            batches = [read_mnist_c(folder, one.corruption)]
        num_classes = 10
    else:
        name = one.kind.split(":")[0]
        dataset = load_dataset(name if name in DATASETS else folder / name, data_dir=folder)
        for said in dataset.notices:
            require_short_line(said)
        batches = [dataset.train, dataset.outer, dataset.select, dataset.test]
        num_classes = dataset.num_classes
    for batch in batches:
        assert batch.images.dtype == np.uint8
        assert batch.images.ndim == 4
        assert 0 not in batch.images.shape
        assert batch.images.shape[3] in (1, 3)
        assert batch.images.shape[1:] == batches[0].images.shape[1:]
        assert batch.labels.dtype == np.int32
        assert batch.labels.shape == batch.images.shape[:1]
        assert batch.labels.min() >= 0
        assert batch.labels.max() < num_classes


def _damage_one(files: Files, rng: np.random.Generator) -> Files:
    name = str(rng.choice(list(files)))
    if rng.random() < 0.05:
        return {other: content for other, content in files.items() if other != name}
    return files | {name: damaged(files[name], rng)}


def _grey(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


@cache
def _whole(kind: str) -> Files:
    """The undamaged files of a kind."""
    return _WHOLE[kind]()


def _idx(values: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + bytes(values)


def _mnist() -> Files:
    return {
        f"mnist/{part}-{name}": _idx(values)
        for part, count in (("train", NUM_IMAGES), ("t10k", NUM_TEST))
        for name, values in (
            ("images-idx3-ubyte", _grey(count, SIZE, SIZE)),
            ("labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8)),
        )
    }


def _emnist() -> Files:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in _mnist().items():
            name = name.replace("mnist/", "gzip/emnist-digits-").replace("t10k", "test")
            archive.writestr(f"{name}.gz", gzip.compress(content))
    return {"emnist/gzip.zip": stream.getvalue()}


def _cifar_files() -> Files:
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    pixels = np.zeros((14, 3073), np.uint8)
    pixels[:, 0] = np.arange(14) % 10
    return {f"cifar-10-batches-bin/{name}": bytes(pixels) for name in names}


def _cifar_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in _cifar_files().items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _arrays() -> dict[str, np.ndarray]:
    return {
        "x_train": _grey(NUM_IMAGES, SIZE, SIZE),
        "y_train": np.arange(NUM_IMAGES) % 4,
        "x_test": _grey(NUM_TEST, SIZE, SIZE),
        "y_test": np.arange(NUM_TEST) % 4,
    }


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _hdf5(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, values in arrays.items():
            text = values.dtype.kind == "U"
            file.create_dataset(name, data=values.astype("S") if text else values)
    return stream.getvalue()


def _mat(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, arrays, do_compression=len(arrays) % 2 == 0)
    return stream.getvalue()


def _images() -> Files:
    files = {}
    for number, image in enumerate(_grey(18, SIZE, SIZE, 3)):
        stream, kind = io.BytesIO(), ("png", "jpeg", "bmp", "gif", "tiff", "webp")[number % 6]
        Image.fromarray(image).save(stream, kind)
        files[f"images/{'ab'[number // 9]}/{number}.{kind}"] = stream.getvalue()
    return files


def _cifar_c() -> Files:
    labels = np.tile(np.arange(4), 5).astype(np.uint8)
    return {"fog.npy": _npy(_grey(20, SIZE, SIZE, 3)), "labels.npy": _npy(labels)}


def _mnist_c() -> Files:
    labels = np.arange(20) % 10
    return {"fog/test_images.npy": _npy(_grey(20, 28, 28, 1)), "fog/test_labels.npy": _npy(labels)}


_WHOLE: dict[str, Callable[[], Files]] = {
    "mnist": _mnist,
    "mnist:gz": lambda: {f"{name}.gz": gzip.compress(file) for name, file in _mnist().items()},
    "emnist-digits": _emnist,
    "cifar-10": _cifar_files,
    "cifar-10:tar": lambda: {"cifar-10-binary.tar.gz": _cifar_tar()},
    "own.npz": lambda: {"own.npz": _npz(_arrays())},
    "own.h5": lambda: {"own.h5": _hdf5(_arrays())},
    "own.mat": lambda: {"own.mat": _mat(_arrays())},
    "images": _images,
    "cifar-10-c": _cifar_c,
    "mnist-c": _mnist_c,
}


def _damaged(kind: str, rng: np.random.Generator) -> Input:
    return Input(kind, _damage_one(_whole(kind), rng))


def _damaged_within(kind: str, rng: np.random.Generator) -> Input:
    """Damage inside gzip, whose own checks then find nothing."""
    files = _damage_one({"mnist": _mnist, "cifar-10": _tar}[kind.split(":")[0]](), rng)
    return Input(kind, {f"{name}.gz": gzip.compress(content, 1) for name, content in files.items()})


def _tar() -> Files:
    return {"cifar-10-binary.tar": _cifar_tar()}


DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?", "S3", "U3", "c8")
VALUES = (-1, 0, 1, 2, 9, 10, 127, 255, 256, 300, 2**15, 2**31, 2**32 + 3, 2**63, 1e300, -0.5, 0.5)
SPECIAL = (np.nan, np.inf, -np.inf)


def odd_array(count: int, of_images: bool, rng: np.random.Generator) -> np.ndarray:
    """Some array that may be taken for images or labels, and may not."""
    count = int(rng.choice([*[count] * 9, count - 1, 0, 1]))
    side = int(rng.choice([0, 1, 2, 3, 4, SIZE, SIZE, SIZE]))
    shapes = [(count, side, side), (count, side, side, 3), (count, 3, side, side), (count, side**2)]
    shapes += [(side, side, 3, count), (count, side, side, 4), (count, side, 5, 2, 1), (), (side,)]
    labels = [(count,), (count,), (count, 1), (1, count), (count, 4), (count, side), ()]
    options = shapes if of_images else labels
    shape = options[int(rng.integers(len(options)))]
    top = float(rng.choice([1, 255, 255, 255, 256, 65_535, 1e9] if of_images else [3, 3, 3, 9, 50]))
    values = np.arange(math.prod(shape)) % (top + 1)
    values = (values + rng.integers(2)) * rng.choice([*[1] * 6, 0.1, -1, 257, 1 / top])
    values = values.reshape(shape)
    if values.size and rng.random() < 0.15:
        values.flat[int(rng.integers(values.size))] = rng.choice([*VALUES, *SPECIAL])
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(str(rng.choice(DTYPES)))


NAMES = ("x_train", "X", "train/images", "y_train", "x_test", "a\nb", "y" * 300, "val_images", "é")


def _odd(kind: str, rng: np.random.Generator) -> Input:
    """Images or labels of an odd form, in all parts or in one, and now and then an odd name."""
    arrays = _arrays()
    seed, axis = int(rng.integers(2**32)), str(rng.choice(["x", "y"]))
    for part, count in (("train", NUM_IMAGES), ("test", NUM_TEST)):
        # Of one seed, so that both parts have one form and are taken now and then.
        odd = odd_array(count, axis == "x", np.random.default_rng(seed))
        if rng.random() < 0.9:
            arrays[f"{axis}_{part}"] = odd
    if rng.random() < 0.2:
        arrays[str(rng.choice(NAMES))] = arrays.pop(str(rng.choice(list(arrays))))
    name = kind.split(":")[0]
    write = {"own.npz": _npz, "own.h5": _hdf5, "own.mat": _mat}[name]
    return Input(kind, {name: write(_named(arrays, name))})


def _named(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays, less what the writer of a format refuses."""
    if name == "own.mat":
        return {key[:31].replace("/", "_"): array for key, array in arrays.items() if array.size}
    return arrays


def _odd_corrupted(kind: str, rng: np.random.Generator) -> Input:
    """Labels and images of corrupted folders out of range, and severities that are none."""
    files = dict(_whole(kind.split(":")[0]))
    name = str(rng.choice(list(files)))
    files[name] = _npy(odd_array(20, "label" not in name, rng))
    severities = (1, 5, 2.0, 0, 6, 2.5, "3", None, np.nan, -1, 10**30)
    corruption = str(rng.choice(["fog", "fog", "fog", "../fog", "f\nog", "labels", "", "x" * 5000]))
    return Input(kind, files, corruption, severities[int(rng.integers(len(severities)))])


KINDS: dict[str, Callable[[str, np.random.Generator], Input]] = {
    **dict.fromkeys(_WHOLE, _damaged),
    "mnist:within": _damaged_within,
    "cifar-10:within": _damaged_within,
    "own.npz:odd": _odd,
    "own.h5:odd": _odd,
    "own.mat:odd": _odd,
    "cifar-10-c:odd": _odd_corrupted,
    "mnist-c:odd": _odd_corrupted,
}
"""Kind -> how an input of it is made; before the colon stands what is read."""

"""Images in MATLAB's `.mat` files, such as SVHN's, by way of scipy; those of version 7.3 are HDF5.

Source of SVHN: Netzer, Wang, Coates, Bissacco, Wu and Ng (2011), "Reading Digits in Natural Images
with Unsupervised Feature Learning".
"""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from noiseproof.data.array_file import read_array_file
from noiseproof.data.dataset import Source
from noiseproof.data.hdf5 import hdf5_arrays
from noiseproof.data.published import first_existing, notices_of_unofficial, sha256_of
from noiseproof.data.trust import reason, require_possible, require_regular
from noiseproof.extras import library

SIZES = {
    "int8": 1, "uint8": 1, "logical": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4,
    "single": 4, "int64": 8, "uint64": 8, "double": 8, "char": 4,
}  # fmt: skip
"""MATLAB's name of a type -> bytes of a number; structs, cells and objects are not read."""

HDF5_START = b"\x89HDF\r\n\x1a\n"
"""Where a file of version 7.3 begins to be one of HDF5, at byte 512 or 0."""

SVHN = ("svhn/train_32x32.mat", "svhn/test_32x32.mat")


def read_matlab(path: Path) -> Source:
    """Reads a `.mat` file; see `read_array_file` for the names that its arrays may have.

    Raises:
        ValueError: The file is missing or damaged, or an array is missing or no images or labels;
            or scipy is not installed.
    """
    return read_array_file(path, _read_arrays)


def read_svhn(data_dir: Path | None) -> Source:
    """Reads `<data_dir>/svhn/{train,test}_32x32.mat`; the digit 0, which is 10 there, comes last.

    Raises:
        ValueError: A file is missing or damaged.
    """
    train, test = (first_existing("svhn", data_dir, (name,)) for name in SVHN)
    source = read_matlab(train)
    unofficial = [
        notice
        for path, name in zip((train, test), SVHN, strict=True)
        for notice in notices_of_unofficial("svhn", path, name, sha256_of(path, of_content=False))
    ]
    return source._replace(name="svhn", notices=(*source.notices, *unofficial))


def _read_arrays(
    path: Path, choose: Callable[[Iterable[str]], Iterable[str]]
) -> dict[str, Shaped[np.ndarray, "..."]]:
    require_regular(path)
    with path.open("rb") as stream:
        start = stream.read(520)
    if HDF5_START in (start[:8], start[512:]):
        # MATLAB counts axes the other way round.
        return {name: array.T for name, array in hdf5_arrays(path, choose).items()}
    matlab = library("scipy.io", f"Reading {path}")
    try:
        with warnings.catch_warnings(action="ignore"):
            found = {name: (shape, kind) for name, shape, kind in matlab.whosmat(path)}
    # Damage makes scipy raise whatever it stumbles over; so too below.
    except Exception as error:
        raise ValueError(f"{path} must be a whole .mat file: {reason(error)}.") from None
    names = list(choose(name for name, (_, kind) in found.items() if kind in SIZES))
    for name in names:
        shape, kind = found[name]
        num_bytes = SIZES[kind] * int(np.prod(shape, dtype=object))
        require_possible(num_bytes, path.stat().st_size, f"{name} in {path}")
    try:
        with warnings.catch_warnings(action="ignore"):
            arrays = matlab.loadmat(path, variable_names=names)
        return {name: np.asarray(arrays[name]) for name in names}
    except Exception as error:
        raise ValueError(f"{path} must be a whole .mat file: {reason(error)}.") from None

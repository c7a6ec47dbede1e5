"""Images in an HDF5 file (`.h5`, `.hdf5`), by way of h5py.

Links out of the file are not followed.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from noiseproof.data.array_file import read_array_file
from noiseproof.data.dataset import Source
from noiseproof.data.trust import reason, require_possible, require_regular, shown
from noiseproof.extras import library

MOST_OBJECTS = 10_000
"""Groups and arrays that are looked at; files of images have a handful."""


def read_hdf5(path: Path) -> Source:
    """Reads an HDF5 file; see `read_array_file` for the names that its arrays may have.

    Raises:
        ValueError: The file is missing, no whole HDF5 file, or an array is missing or no images or
            labels; or h5py is not installed.
    """
    return read_array_file(path, hdf5_arrays)


def hdf5_arrays(
    path: Path, choose: Callable[[Iterable[str]], Iterable[str]]
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of an HDF5 file whose names, with their groups, are chosen.

    Raises:
        ValueError: The file is missing or damaged, or h5py is not installed.
    """
    require_regular(path)
    h5py = library("h5py", f"Reading {path}")
    try:
        file = h5py.File(path, "r")
    # Damage makes HDF5 raise whatever it stumbles over; so too below.
    except Exception as error:
        raise ValueError(f"{path} must be a whole HDF5 file: {reason(error)}.") from None
    with file:
        found = _arrays(h5py, file, path)
        return {name: _array(h5py, found[name], name, path) for name in choose(found)}


def _arrays(h5py: Any, file: Any, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: list[str] = []

    def visit(name: str, item: Any) -> bool | None:
        seen.append(name)
        if isinstance(item, h5py.Dataset):
            found[name] = item
        return True if len(seen) > MOST_OBJECTS else None

    try:
        too_many = file.visititems(visit)
    except Exception as error:
        raise ValueError(f"{path} must be a whole HDF5 file: {reason(error)}.") from None
    if too_many:
        raise ValueError(f"{path} must hold at most {MOST_OBJECTS} groups and arrays.")
    return found


def _array(h5py: Any, array: Any, name: str, path: Path) -> Shaped[np.ndarray, "..."]:
    where = f"{shown(name)} in {path}"
    try:
        elsewhere = array.is_virtual or array.external
        is_text = h5py.check_string_dtype(array.dtype) is not None
        num_bytes = array.size * array.dtype.itemsize if array.shape is not None else 0
    except Exception as error:
        raise ValueError(f"{where} must be a whole array: {reason(error)}.") from None
    if elsewhere:
        raise ValueError(f"{where} must lie in the file itself, not in another one.")
    require_possible(num_bytes, path.stat().st_size, where)
    try:
        return np.asarray(array.asstr(errors="replace")[...], str) if is_text else array[...]
    except Exception as error:
        raise ValueError(f"{where} must be a whole array: {reason(error)}.") from None

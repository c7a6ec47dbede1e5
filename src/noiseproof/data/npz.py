"""Images in an `.npz` file, as numpy, Keras and MedMNIST write them. Nothing is unpickled."""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from noiseproof.data.array_file import read_array_file
from noiseproof.data.dataset import Source
from noiseproof.data.trust import reason, require_possible, require_regular, shown
from noiseproof.messages import short

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What numpy writes; others unpack to far more than they are."""

HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: Path) -> Source:
    """Reads an `.npz` file; see `read_array_file` for the names that its arrays may have.

    Raises:
        ValueError: The file is missing, no whole `.npz`, or an array is missing or no images or
            labels.
    """
    return read_array_file(path, _read_arrays)


def _read_arrays(
    path: Path, choose: Callable[[Iterable[str]], Iterable[str]]
) -> dict[str, Shaped[np.ndarray, "..."]]:
    with _opened(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        return {name: _array(archive, members[name], name, path) for name in choose(members)}


def _opened(path: Path) -> zipfile.ZipFile:
    require_regular(path)
    try:
        return zipfile.ZipFile(path)
    # Damage makes zipfile, zlib and numpy raise whatever they stumble over; so too below.
    except Exception:
        raise ValueError(
            f"{path} must be a whole .npz file; it is of another kind, or cut off."
        ) from None


def _array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, path: Path
) -> Shaped[np.ndarray, "..."]:
    where = f"{shown(name)} in {path}"
    if info.compress_type not in COMPRESSIONS:
        raise ValueError(f"{where} must be compressed by Deflate or not at all.")
    require_possible(info.file_size, path.stat().st_size, where)
    try:
        return _plain_array(archive, info)
    except Exception as error:
        raise ValueError(f"{where} must be a whole, plain array: {reason(error)}.") from None


def _plain_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Shaped[np.ndarray, "..."]:
    """The array of a member whose header says neither more nor less than follows it."""
    with archive.open(info) as stream:
        shape, dtype = _header(stream)
        expected = stream.tell() + dtype.itemsize * int(np.prod(shape, dtype=object))
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded, since they are pickled")
    if expected != info.file_size:
        raise ValueError(f"its header says {short(expected)} bytes, it has {info.file_size}")
    with archive.open(info) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        # zipfile checks its checksum only at the very end.
        stream.read(1)
    return array


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"its format is of version {version}")
    shape, _, dtype = HEADERS[version](stream)
    return shape, dtype

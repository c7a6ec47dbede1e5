"""Records of a study: named axes with their labels, and arrays along them.

A folder of a study holds `study.json` and `study.npz`. The page is made from these alone.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from noiseproof.files import read_whole, write_whole
from noiseproof.messages import short
from noiseproof.results.arrays import read_array
from noiseproof.results.decoding import decode, encode
from noiseproof.results.schema import Condition, Name, OptimizerEntry, Positive, Provenance, Words

STUDY_FILE, STUDY_ARRAYS_FILE = "study.json", "study.npz"

ARRAYS: Mapping[str, tuple[str, ...]] = {
    "rates": ("thetas", "rates", "fractions"),
    "weight_norm": ("optimizers", "seeds", "tensors", "stretches"),
    "update_norm": ("optimizers", "seeds", "tensors", "stretches"),
    "answer": ("optimizers", "seeds", "moments", "factors", "tensors"),
    "coasting": ("optimizers", "seeds", "moments", "coasting", "tensors"),
    "filters": ("optimizers", "units", "filter_rows", "filter_columns", "channels"),
    "bands": ("optimizers", "seeds", "filter_layers", "bands"),
    "fourier": ("optimizers", "seeds", "rows", "columns"),
    "gradient_spectrum": ("optimizers", "seeds", "radii"),
    "margins": ("optimizers", "seeds", "quantiles"),
    "ranks": ("optimizers", "seeds", "layers"),
    "accuracy": ("optimizers", "conditions", "seeds"),
    "by_length": ("optimizers", "lengths", "sides", "seeds"),
    "ablation": ("variants", "families", "seeds"),
}
"""The axes of every array. Those of a rule that is not explained are left out."""


class Study(Struct, frozen=True, forbid_unknown_fields=True):
    """What was studied, and what names the axes of the numbers.

    Attributes:
        name: Of the learned optimizer.
        rule: Its rule.
        meta_trained_on: The outer loss, in words.
        task: Data set and image shape, classifier, in words.
        num_steps: Inner steps of a run.
        num_images: Images under each condition.
        num_classes: Classes of the data set.
        wave_norm: Norm of the waves of the Fourier map, on one channel.
        optimizers: Who trained classifiers, the learned one first.
        conditions: What was tested on.
        axes: The labels of every axis; `optimizers` and `conditions` are as above.
        equation: The rule as text, a line each; empty where it is not explained.
        provenance: Where the numbers come from.
    """

    name: Name
    rule: Name
    meta_trained_on: Words
    task: Words
    num_steps: Positive
    num_images: Positive
    num_classes: Positive
    wave_norm: float
    optimizers: list[OptimizerEntry]
    conditions: list[Condition]
    axes: dict[str, list[str | float]]
    equation: list[str]
    provenance: Provenance


class StudyRecord(NamedTuple):
    """A study. Attributes: `about`, what was studied; `arrays`, the numbers, see `ARRAYS`."""

    about: Study
    arrays: dict[str, np.ndarray]


def check_study(record: StudyRecord, place: str) -> None:
    """Raises ValueError where an array is unknown, no numbers, or not as long as its axes."""
    about, arrays = record
    sizes = {name: len(labels) for name, labels in about.axes.items()}
    if (sizes.get("optimizers"), sizes.get("conditions")) != (
        len(about.optimizers),
        len(about.conditions),
    ):
        raise ValueError(f"{place}: axes must have a label for each optimizer and condition.")
    for name, array in arrays.items():
        if name not in ARRAYS:
            raise ValueError(
                f"{place}: arrays must be among {', '.join(ARRAYS)}, got {short(name)}."
            )
        wanted = tuple(sizes.get(axis, 0) for axis in ARRAYS[name])
        if array.dtype.kind != "f" or array.shape != wanted:
            raise ValueError(
                f"{place}: {name} must hold floats of shape {wanted}, got {array.dtype} of "
                f"{array.shape}."
            )


def write_study(folder: Path, record: StudyRecord) -> None:
    """Writes both files, each whole or not at all; numbers keep seven digits.

    Raises:
        ValueError: An array is not as long as its axes.
    """
    check_study(record, str(folder))
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        name: array.astype(np.float32) for name, array in record.arrays.items()
    }
    np.savez_compressed(content, **arrays)
    write_whole(folder / STUDY_ARRAYS_FILE, content.getvalue())
    write_whole(folder / STUDY_FILE, encode(record.about))


def read_study(folder: Path) -> StudyRecord:
    """Reads what `write_study` wrote.

    Raises:
        ValueError: A file is missing, damaged, or not as it says of itself.
    """
    about = decode(read_whole(folder / STUDY_FILE), Study, str(folder / STUDY_FILE))
    path = folder / STUDY_ARRAYS_FILE
    try:
        with zipfile.ZipFile(io.BytesIO(read_whole(path))) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            arrays = {name: read_array(archive, name, path) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError):
        raise ValueError(f"{path} must be a whole NumPy archive, as this package writes.") from None
    record = StudyRecord(about, arrays)
    check_study(record, str(path))
    return record

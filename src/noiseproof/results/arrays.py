"""Numbers of a record, in a NumPy archive: read with no more than the record says is there."""

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from noiseproof.files import write_whole
from noiseproof.messages import short
from noiseproof.results.schema import Curves, Record, Run, Samples, Scores, Trials

Shape = tuple[int, ...]


def write_arrays(path: Path, record: Record) -> None:
    """Writes `results.npz` in one move; the same numbers give the same bytes.

    Whole numbers take as few bytes as hold all images, losses and calibration errors two: of a
    loss three digits are kept, and one above 65,504 nats is infinite.

    Raises:
        ValueError: An array is not as the run says.
    """
    run, scores, curves, trials, samples = record
    with np.errstate(over="ignore"):
        arrays = {
            "right": scores.right.astype(np.min_scalar_type(run.num_images)),
            "loss": scores.loss.astype(np.float16),
            "calibration_error": scores.calibration_error.astype(np.float16),
            "diverged": scores.diverged,
            "step": curves.step.astype(np.int32),
            **{name: getattr(curves, name).astype(np.float32) for name in ("curve", "low", "high")},
        }
        if trials is not None:
            arrays |= {
                "trial_loss": trials.trial_loss.astype(np.float32),
                "trial_round": trials.trial_round.astype(np.int16),
                "final_loss": trials.final_loss.astype(np.float32),
            }
        if samples is not None:
            small = np.min_scalar_type(-run.num_classes)
            arrays |= {
                "sample_image": samples.sample_image,
                **{name: getattr(samples, name).astype(small) for name in SAID},
                "sample_condition": samples.sample_condition.astype(np.int32),
            }
    check_arrays(arrays, run, str(path))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())


SAID = ("sample_label", "sample_class")
"""What of the samples are classes."""


def read_arrays(path: Path, run: Run) -> tuple[Scores, Curves, Trials | None, Samples | None]:
    """Reads `results.npz`; an older one holds no trials and no samples.

    Args:
        path: The file.
        run: What says how many optimizers, conditions and seeds it holds.

    Raises:
        ValueError: It is damaged or not as the run says.
    """
    if not path.is_file():
        raise ValueError(f"{path} must be a file.")
    try:
        with zipfile.ZipFile(path) as archive:
            has_trials, has_samples = (
                f"{part._fields[0]}.npy" in archive.namelist() for part in (Trials, Samples)
            )
            tuning, shown = Trials._fields * has_trials, Samples._fields * has_samples
            names = (*Scores._fields, *Curves._fields, *tuning, *shown)
            found = {name: read_array(archive, name, path) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError) as error:
        raise ValueError(
            f"{path} must be a whole NumPy archive, got {short(str(error))}."
        ) from None
    except (NotImplementedError, RuntimeError, SyntaxError):
        raise ValueError(f"{path} must be a whole NumPy archive, as this package writes.") from None
    check_arrays(found, run, str(path))

    def part(fields: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: found[name] for name in fields}

    trials = Trials(**part(Trials._fields)) if has_trials else None
    samples = Samples(**part(Samples._fields)) if has_samples else None
    return Scores(**part(Scores._fields)), Curves(**part(Curves._fields)), trials, samples


MOST_VALUES = 100_000_000
"""More than any record holds: what says that it holds more is not read."""


def read_array(archive: zipfile.ZipFile, name: str, path: Path) -> np.ndarray:
    """One array, whose header must not promise more than the archive's own list does."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.file_size > MOST_VALUES:
        raise ValueError(f"{path}: {name} must hold at most {MOST_VALUES} bytes.")
    content = io.BytesIO(archive.read(entry))
    try:
        return np.lib.format.read_array(content, allow_pickle=False)
    except (ValueError, TypeError, MemoryError, OverflowError):
        raise ValueError(f"{path}: {name} must be an array of numbers.") from None


def check_arrays(arrays: Mapping[str, np.ndarray], run: Run, place: str) -> None:
    """Raises ValueError where an array has another shape or type than the run says, or range."""
    shape = (len(run.optimizers), len(run.conditions), len(run.seeds))
    points = (len(arrays["step"]),) if arrays["step"].ndim == 1 else (0,)
    expected: dict[str, tuple[str, Shape]] = {
        **dict.fromkeys(("right",), ("iu", shape)),
        **dict.fromkeys(("loss", "calibration_error"), ("f", shape)),
        "diverged": ("b", (shape[0], shape[2])),
        "step": ("iu", points),
        **dict.fromkeys(("curve", "low", "high"), ("f", (shape[0], *points))),
    }
    if "trial_loss" in arrays:
        most, num_final = (
            arrays[name].shape[1:] if arrays[name].ndim == 2 else (0,)
            for name in ("trial_loss", "final_loss")
        )
        expected |= {
            "trial_loss": ("f", (shape[0], *most)),
            "trial_round": ("iu", (shape[0], *most)),
            "final_loss": ("f", (shape[0], *num_final)),
        }
    if "sample_image" in arrays:
        size = arrays["sample_image"].shape
        size = size if len(size) == 5 and size[4] in (1, 3) and all(size) else (0, 0, 1, 1, 1)
        expected |= {
            "sample_image": ("u", size),
            "sample_label": ("iu", size[1:2]),
            "sample_condition": ("iu", size[:1]),
            "sample_class": ("iu", (shape[0], *size[:2])),
        }
    for name, (kinds, wanted) in expected.items():
        array = arrays[name]
        if array.dtype.kind not in kinds or array.shape != wanted:
            raise ValueError(
                f"{place}: {name} must be of kind {kinds} and shape {wanted}, got "
                f"{array.dtype} and {array.shape}."
            )
    calibration, loss = arrays["calibration_error"], arrays["loss"]
    ranges = {
        "right": (arrays["right"] >= 0) & (arrays["right"] <= run.num_images),
        "calibration_error": np.isnan(calibration) | ((calibration >= 0) & (calibration <= 1)),
        "loss": np.isnan(loss) | (loss >= 0),
        "step": arrays["step"] >= 0,
    }
    ends = {"sample_label": run.num_classes, "sample_condition": shape[1]}
    for name, end in {**ends, "sample_class": run.num_classes}.items():
        if name in arrays:
            ranges[name] = (arrays[name] >= -(name == "sample_class")) & (arrays[name] < end)
    for name, inside in ranges.items():
        if not inside.all():
            raise ValueError(
                f"{place}: {name} is out of range, got {arrays[name][~inside].flat[0]}."
            )

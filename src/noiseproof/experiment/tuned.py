"""What the searches of rivals found, kept in the folder of a run, so that none is made twice.

The file is sealed by a checksum, and its knobs are checked against those of the rival.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseproof.checkpoint.seal import seal, unseal
from noiseproof.evaluate.tuning import Tuned
from noiseproof.experiment.build import Search
from noiseproof.experiment.folder import CONFIG_FILE
from noiseproof.files import read_whole, write_whole
from noiseproof.messages import short
from noiseproof.rivals import RIVALS

TUNED_FILE = "tuned.json"
"""What the searches found, in the folder of a run."""

SEARCHED_ON = ("data", "model", "inner", "outer", "pool", "window")
"""Sections of the settings that the outcome of a search depends on."""


def recall(folder: Path, search: Search) -> Tuned | None:
    """What a search found that was done in this folder; None if it was not.

    Raises:
        ValueError: The file is damaged, or its knobs are not the rival's.
    """
    path = folder / TUNED_FILE
    found = searches_of(path) if path.is_file() else {}
    return tuned_of(found[search.label], search, path) if search.label in found else None


def remember(folder: Path, label: str, tuned: Tuned) -> None:
    """Keeps what a search found in the folder."""
    path = folder / TUNED_FILE
    known = searches_of(path) if path.is_file() else {}
    # JSON has no infinity, which is the loss where every run diverged.
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in tuned._asdict().items()
    }
    write_whole(path, seal({"searches": {**known, label: values}}))


def searches_of(path: Path) -> dict[str, Any]:
    """What a file holds, by the labels of searches.

    Raises:
        ValueError: It is damaged.
    """
    found = unseal(path).get("searches")
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold searches by their labels, got {short(found)}.")
    return found


def tuned_of(values: Any, search: Search, path: Path) -> Tuned:
    """What a file says of a search.

    Raises:
        ValueError: Something is missing, or the knobs are not the rival's.
    """
    try:
        losses = {
            name: math.inf if values[name] is None else float(values[name])
            for name in ("outer_loss", "select_loss")
        }
        tuned = Tuned(**{**values, **losses})
        knobs = {name: float(value) for name, value in tuned.values.items()}
        known = tuned._replace(num_trials=int(tuned.num_trials), on_edge=list(tuned.on_edge))
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError):
        raise ValueError(f"{path} does not say what the search of {search.label} found.") from None
    wanted = RIVALS[search.rival].knobs
    if set(knobs) != set(wanted) or not all(map(math.isfinite, knobs.values())):
        raise ValueError(
            f"{path} must give {search.label} numbers for {', '.join(wanted)}, got {short(knobs)}."
        )
    return known._replace(values=knobs)


def found_by(source: Path, record: Mapping[str, Any], searches: Sequence[Search]) -> dict[str, Any]:
    """What the searches of another run found, on the same problem.

    Args:
        source: Its folder.
        record: The settings of this run.
        searches: Of this run; what the other found for them is checked.

    Raises:
        ValueError: The folder is not that of a run that searched, or its problem is another.
    """
    try:
        searched_on = dict(json.loads(read_whole(source / CONFIG_FILE)))
    except (OSError, ValueError, TypeError, RecursionError):
        raise ValueError(
            f"{source} must be the folder of a run, with {CONFIG_FILE} and {TUNED_FILE}."
        ) from None
    for section in SEARCHED_ON:
        before, now = dict(searched_on.get(section) or {}), record[section]
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if changed:
            then, here = (
                ", ".join(f"{section}.{name} = {values.get(name)!r}" for name in changed)
                for values in (before, now)
            )
            raise ValueError(
                f"The rivals in {source} were tuned with {short(then)}, not {short(here)}: tune "
                "them anew."
            )
    found = unseal(source / TUNED_FILE)
    for search in searches:
        recall(source, search)
    return found


def take_over(found: Mapping[str, Any] | None, folder: Path) -> None:
    """Keeps in a folder that has no searches yet what those of another run found."""
    path = folder / TUNED_FILE
    if found is not None and not path.is_file():
        write_whole(path, seal(dict(found)))

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
from noiseproof.files import write_whole
from noiseproof.messages import short
from noiseproof.rivals import RIVALS

LINES = ("final_losses", "outer_losses", "rounds")
"""What of a search is a line of numbers."""

TUNED_FILE = "tuned.json"
"""What the searches found, in the folder of a run."""

SEARCHED_ON = ("data", "model", "inner", "outer", "pool", "window", "tuning")
"""Sections of the settings that the outcome of a search depends on."""

COUNTED = ("num_runs", "num_final_runs")
"""What of `tuning` says how a point is scored."""


def recall(folder: Path, search: Search) -> Tuned | None:
    """What a search found that was done in this folder; None if it was not.

    Raises:
        ValueError: The file is damaged, or its knobs are not the rival's.
    """
    path = folder / TUNED_FILE
    found = unseal(path).get("searches", {}) if path.is_file() else {}
    return tuned_of(found[search.label], search, path) if search.label in found else None


def remember(folder: Path, label: str, tuned: Tuned, seed: int) -> None:
    """Keeps what a search under a seed found in the folder."""
    path = folder / TUNED_FILE
    known = unseal(path)["searches"] if path.is_file() else {}
    write_whole(path, seal({"seed": seed, "searches": {**known, label: as_json(tuned)}}))


def search_seed(folder: Path, seed: int) -> int:
    """The seed of the searches in a folder, which may be another run's; its own where none is."""
    path = folder / TUNED_FILE
    return int(unseal(path).get("seed", seed)) if path.is_file() else seed


def as_json(tuned: Tuned) -> dict[str, Any]:
    """What a search found, its trials as lines of numbers."""
    points = {name: in_line(column) for name, column in tuned.points.items()}
    lines = {name: in_line(getattr(tuned, name)) for name in LINES}
    return {**tuned._asdict(), **lines, "points": points}


def in_line(numbers: Sequence[float]) -> str:
    """Numbers as text, which takes a fraction of a list's and knows infinity."""
    return " ".join(f"{number:.9g}" for number in numbers)


def from_json(values: Any) -> Tuned:
    """What `as_json` made; ValueError, TypeError, KeyError or AttributeError where it did not."""
    lines = {name: [float(word) for word in values[name].split()] for name in LINES}
    points = {
        name: [float(word) for word in column.split()] for name, column in values["points"].items()
    }
    tuned = Tuned(**{**values, **lines, "points": points})
    num_trials = tuned.num_trials
    if not num_trials or any(len(one) != num_trials for one in (*points.values(), tuned.rounds)):
        raise ValueError("columns of trials must be of one length.")
    return tuned._replace(
        rounds=[int(number) for number in tuned.rounds],
        values={name: float(value) for name, value in tuned.values.items()},
    )


def tuned_of(values: Any, search: Search, path: Path) -> Tuned:
    """What a file says of a search.

    Raises:
        ValueError: Something is missing, or the knobs are not the rival's.
    """
    try:
        tuned = from_json(values)
        knobs = tuned.values
    except (TypeError, ValueError, KeyError, AttributeError):
        raise ValueError(f"{path} does not say what the search of {search.label} found.") from None
    wanted = RIVALS[search.rival].knobs
    if set(knobs) != set(wanted) or not all(map(math.isfinite, knobs.values())):
        raise ValueError(
            f"{path} must give {search.label} numbers for {', '.join(wanted)}, got {short(knobs)}."
        )
    return tuned


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
        searched_on = dict(json.loads((source / CONFIG_FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise ValueError(
            f"{source} must be the folder of a run, with {CONFIG_FILE} and {TUNED_FILE}."
        ) from None
    for section in SEARCHED_ON:
        before, now = dict(searched_on.get(section) or {}), dict(record[section])
        if section == "tuning":
            before, now = ({name: one.get(name) for name in COUNTED} for one in (before, now))
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
    if not isinstance(found.get("seed"), int):
        raise ValueError(f"{source / TUNED_FILE} is of an older version: tune the rivals anew.")
    for search in searches:
        recall(source, search)
    return found


def take_over(found: Mapping[str, Any] | None, folder: Path) -> None:
    """Keeps in a folder that has no searches yet what those of another run found."""
    path = folder / TUNED_FILE
    if found is not None and not path.is_file():
        write_whole(path, seal(dict(found)))

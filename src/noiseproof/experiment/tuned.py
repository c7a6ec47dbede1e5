"""What the searches of rivals found, kept in the folder of a run, so that none is made twice.

The file is sealed by a checksum, and its knobs are checked against those of the rival.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseproof.data.dataset import fingerprint
from noiseproof.evaluate.tuning import Tuned
from noiseproof.experiment.build import Experiment, Search
from noiseproof.experiment.folder import CONFIG_FILE, IMAGES, claim, differences
from noiseproof.experiment.settings import Settings, as_dict
from noiseproof.files import read_whole, write_whole
from noiseproof.messages import short
from noiseproof.rivals import RIVALS
from noiseproof.seal import seal, unseal

LINES = ("final_losses", "outer_losses", "rounds")
"""What of a search is a line of numbers."""

TUNED_FILE = "tuned.json"
"""What the searches found, in the folder of a run."""

PROBLEM = ("data", "model", "inner", "outer", "pool", "window")
"""Sections of the settings that say what a rival is tuned on."""

SEARCHED_ON = (*PROBLEM, "tuning")
"""Those that the outcome of a search depends on."""

PLAIN = {name: one for name, one in as_dict(Settings()).items() if name in ("data", "inner")}
"""Defaults of sections that have no kind: of settings that are newer than a record."""

COUNTED = ("num_runs", "num_final_runs")
"""What of `tuning` says how a point is scored."""


def recall(folder: Path, search: Search) -> Tuned | None:
    """What a search found that was done in this folder; None if it was not.

    Raises:
        ValueError: The file is damaged, or its knobs are not the rival's.
    """
    path = folder / TUNED_FILE
    found = searches_of(path) if path.is_file() else {}
    return tuned_of(found[search.label], search, path) if search.label in found else None


def remember(folder: Path, label: str, tuned: Tuned, seed: int) -> None:
    """Keeps what a search under a seed found in the folder."""
    path = folder / TUNED_FILE
    known = searches_of(path) if path.is_file() else {}
    write_whole(path, seal({"seed": seed, "searches": {**known, label: as_json(tuned)}}))


def search_seed(folder: Path, seed: int) -> int:
    """The seed of the searches in a folder, which may be another run's; its own where none is."""
    path = folder / TUNED_FILE
    return int(unseal(path).get("seed", seed)) if path.is_file() else seed


def as_json(tuned: Tuned) -> dict[str, Any]:
    """What a search found, its trials as lines of numbers."""
    points = {name: in_line(column) for name, column in tuned.points.items()}
    lines = {name: in_line(getattr(tuned, name)) for name in LINES}
    # JSON has no infinity, which is the loss where every run diverged.
    outer_loss = tuned.outer_loss if math.isfinite(tuned.outer_loss) else None
    return {**tuned._asdict(), **lines, "points": points, "outer_loss": outer_loss}


def in_line(numbers: Sequence[float]) -> str:
    """Numbers as text, which takes a fraction of a list's and knows infinity."""
    return " ".join(f"{number:.9g}" for number in numbers)


def from_json(values: Any) -> Tuned:
    """What `as_json` made; ValueError, TypeError, KeyError or AttributeError where it did not."""
    lines = {name: [float(word) for word in values[name].split()] for name in LINES}
    points = {
        name: [float(word) for word in column.split()] for name, column in values["points"].items()
    }
    outer_loss = math.inf if values["outer_loss"] is None else float(values["outer_loss"])
    tuned = Tuned(**{**values, **lines, "points": points, "outer_loss": outer_loss})
    num_trials = tuned.num_trials
    if not num_trials or any(len(one) != num_trials for one in (*points.values(), tuned.rounds)):
        raise ValueError("columns of trials must be of one length.")
    return tuned._replace(
        rounds=[int(number) for number in tuned.rounds],
        on_edge=list(tuned.on_edge),
        values={name: float(value) for name, value in tuned.values.items()},
    )


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
        tuned = from_json(values)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise ValueError(f"{path} does not say what the search of {search.label} found.") from None
    check_values(search.rival, tuned.values, str(path))
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
    check_same_problem(source, record, SEARCHED_ON)
    found = unseal(source / TUNED_FILE)
    if not isinstance(found.get("seed"), int):
        raise ValueError(f"{source / TUNED_FILE} is of an older version: tune the rivals anew.")
    for search in searches:
        recall(source, search)
    return found


def chosen_in(folder: Path) -> dict[str, dict[str, float]]:
    """What the searches in a folder chose, by rival.

    Raises:
        ValueError: The file is damaged or missing, or knobs are not the rival's.
    """
    found = searches_of(folder / TUNED_FILE)
    searches = [Search(name, name, None) for name in RIVALS if name in found]
    chosen = [(search.rival, recall(folder, search)) for search in searches]
    return {name: tuned.values for name, tuned in chosen if tuned is not None}


def check_values(rival: str, values: Any, place: str) -> None:
    """Raises ValueError where values are not numbers for the knobs of a rival."""
    wanted = RIVALS[rival].knobs if rival in RIVALS else None
    if wanted is None:
        raise ValueError(f"{place}: rivals must be among {', '.join(RIVALS)}, got {short(rival)}.")
    is_known = isinstance(values, Mapping) and set(values) == set(wanted)
    if not is_known or not all(
        isinstance(one, int | float) and math.isfinite(one) for one in values.values()
    ):
        raise ValueError(
            f"{place} must give {rival} numbers for {', '.join(wanted)}, got {short(values)}."
        )


def check_same_problem(source: Path, record: Mapping[str, Any], sections: Sequence[str]) -> None:
    """Raises ValueError where a folder is no run's, or its sections of the settings are others.

    Of images that both sides know by their checksum, the name of their file does not matter.
    """
    try:
        found = dict(json.loads(read_whole(source / CONFIG_FILE)))
        searched_on = {section: dict(found.get(section) or {}) for section in sections}
    except (OSError, ValueError, TypeError, RecursionError):
        raise ValueError(
            f"{source} must be the folder of a run, with {CONFIG_FILE} and {TUNED_FILE}."
        ) from None
    images = [one.get(IMAGES) for one in (found, record)]
    if all(images) and images[0] != images[1]:
        raise ValueError(f"The rivals in {source} were tuned on other images: tune them anew.")
    for section, known in searched_on.items():
        # A record of before a setting was there has it at its default.
        before = {**PLAIN.get(section, {}), **known}
        now = dict(record[section])
        if section == "tuning":
            before, now = ({name: one.get(name) for name in COUNTED} for one in (before, now))
        changed = list(differences(before, now, f"{section}."))
        if all(images):
            changed = [one for one in changed if one[0] != "data.name"]
        if changed:
            then, here = (
                ", ".join(f"{one[0]} = {one[side]!r}" for one in changed) for side in (1, 2)
            )
            raise ValueError(
                f"The rivals in {source} were tuned with {short(then)}, not {short(here)}: tune "
                "them anew."
            )


def begin(
    folder: Path,
    about: Mapping[str, Any],
    experiment: Experiment,
    tuned: str | Path | None = None,
    *,
    resume: bool = False,
    replace: bool = False,
) -> None:
    """Claims a folder, and keeps in it what another run's searches found if it has none yet.

    `about` identifies the work beside the settings and images of the experiment; `tuned` is the
    folder of the other run. The rest is as `claim` has it.

    Raises:
        ValueError: The folder is in use, or the other run is of another problem.
    """
    data = experiment.problem.dataset
    images = fingerprint(data.train, data.outer, data.select, data.test)
    wanted = {**about, **experiment.record, IMAGES: images}
    found = found_by(Path(tuned), wanted, experiment.searches) if tuned else None
    claim(folder, wanted, resume=resume, replace=replace)
    path = folder / TUNED_FILE
    if found is not None and not path.is_file():
        write_whole(path, seal(found))

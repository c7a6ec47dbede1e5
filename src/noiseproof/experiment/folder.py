"""The output folder of a command: claimed before anything is written, never taken from another."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noiseproof.files import create_whole, leftovers, read_whole
from noiseproof.messages import short

CONFIG_FILE = "config.json"
"""Its presence says that a folder was made by a run, and of which settings."""

IMAGES = "images_sha256"
"""What says which images a run reads, beside the name of their file; older runs do not say it."""


def claim(
    folder: Path,
    wanted: Mapping[str, Any],
    *,
    file_name: str = CONFIG_FILE,
    resume: bool = False,
    replace: bool = False,
) -> None:
    """Makes the folder, or makes sure that it holds the same work's beginning.

    Args:
        folder: The output folder.
        wanted: What identifies the work, as JSON has it.
        file_name: Of the file in the folder that says so.
        resume: Whether to go on with the work in the folder; where there is none it begins.
        replace: Whether an earlier run in it is deleted first, where it is not resumed.

    Raises:
        ValueError: The folder is in use by something else, or it holds other work.
    """
    file = folder / file_name
    if replace and not resume:
        discard(folder, file)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"The output folder {folder} is a file: choose another with --out.")
    folder.mkdir(parents=True, exist_ok=True)
    if resume and file.exists():
        check_same(file, wanted)
        clear(file)
        return
    if set(folder.iterdir()) - set(leftovers(file)):
        raise ValueError(
            f"The output folder {folder} holds no run to resume, but something else."
            if resume
            else in_use(folder)
        )
    try:
        create_whole(file, json.dumps(wanted, indent=2, allow_nan=False) + "\n")
    # Who was first clears away what others had begun to write.
    except (FileExistsError, FileNotFoundError):
        if not file.exists():
            raise
        raise ValueError(in_use(folder)) from None
    clear(file)


def clear(file: Path) -> None:
    """Removes what writers of the file left that were killed or came second."""
    for leftover in leftovers(file):
        leftover.unlink(missing_ok=True)


def in_use(folder: Path) -> str:
    """The message that a folder is taken."""
    return (
        f"The output folder {folder} is in use: choose another with --out, or go on with the run "
        "in it with --resume."
    )


def check_same(file: Path, wanted: Mapping[str, Any]) -> None:
    """Raises ValueError where the folder of the file holds other work."""
    try:
        found = json.loads(read_whole(file))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is damaged: it is no JSON object.")
    known = {key: found.get(key) for key in wanted if key != IMAGES or key in found}
    for place, before, now in differences(known, {key: wanted[key] for key in known}):
        has = f"has {place} {short(before)}, not {short(now)}"
        raise ValueError(
            f"The run in {file.parent} {'read other images' if place == IMAGES else has}: resume it"
            " with the same settings and images, or choose another folder with --out."
        )


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], place: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Where nested values differ, as `(section.key, before, now)`; None where one is not there."""
    for name in {**before, **now}:
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from differences(one, other, f"{place}{name}.")
        elif one != other:
            yield f"{place}{name}", one, other


def discard(folder: Path, file: Path) -> None:
    """Empties the folder of an earlier run; a folder that no run made stays as it is.

    Raises:
        ValueError: The folder is in use by something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not file.is_file():
        raise ValueError(f"The output folder {folder} is in use by something else than a run.")
    shutil.rmtree(folder, ignore_errors=True)

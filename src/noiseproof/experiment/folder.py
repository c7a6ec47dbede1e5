"""The output folder of a command: claimed before anything is written, never taken from another."""

import json
import shutil
from pathlib import Path

from noiseproof.experiment.settings import Config, as_dict
from noiseproof.results import write_text

CONFIG_FILE = "config.json"
"""Its presence says that a folder was made by a run, and of which config."""


def claim(
    folder: Path,
    preset: str,
    config: Config,
    seed: int,
    *,
    resume: bool = False,
    replace: bool = False,
) -> None:
    """Makes the folder, or makes sure that it holds the same run's beginning.

    Args:
        folder: The output folder.
        preset: Name of the preset.
        config: Its settings.
        seed: Seed of the run.
        resume: Whether to go on with the run in the folder.
        replace: Whether an earlier run in it is deleted first, where it is not resumed.

    Raises:
        ValueError: The folder is in use by something else, or it holds another run.
    """
    wanted = {"preset": preset, "seed": seed, **as_dict(config)}
    if replace and not resume:
        discard(folder)
    claim_for(wanted, folder / CONFIG_FILE, resume=resume)


def claim_for(wanted: dict, file: Path, *, resume: bool = False) -> None:
    """Makes the folder of a file that says what is made there, or makes sure that it says so.

    Args:
        wanted: What identifies the work, as JSON has it.
        file: Where that is written.
        resume: Whether to go on with the work in the folder.

    Raises:
        ValueError: The folder is in use by something else, or by other work.
    """
    folder = file.parent
    if is_used(folder):
        if not resume:
            raise ValueError(
                f"The output folder {folder} is in use: choose another with --out, or go on with "
                "the run in it with --resume."
            )
        check_same(file, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(wanted, indent=2) + "\n")


def check_same(file: Path, wanted: dict) -> None:
    """Raises ValueError where the folder of the file holds no run, or one with other settings."""
    if not file.is_file():
        raise ValueError(f"The output folder {file.parent} holds no run to resume.")
    try:
        found = dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError):
        raise ValueError(f"{file} is damaged: it is no JSON object.") from None
    for key in wanted:
        if found.get(key) != wanted[key]:
            raise ValueError(
                f"The run in {file.parent} has {key} {found.get(key)}, not {wanted[key]}: resume "
                "it with the same settings, or choose another folder with --out."
            )


def is_used(folder: Path) -> bool:
    """Whether there is something in the folder, or a file in its place."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def discard(folder: Path) -> None:
    """Empties the folder of an earlier run; a folder that no run made stays as it is.

    Raises:
        ValueError: The folder is in use by something else.
    """
    if is_used(folder) and not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"The output folder {folder} is in use by something else than a run.")
    shutil.rmtree(folder, ignore_errors=True)

"""Options that several commands share, as typer takes them, and what they stand for."""

import inspect
import json
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Lay a setting over the preset's."),
]
NO_SETTINGS: list[str] = []
"""The default; typer wants a list and never changes it."""

Seed = Annotated[
    int,
    typer.Option(help="Fixes all that is drawn at random.", min=0, max=2**32 - 1),
]
DataDir = Annotated[
    Path | None,
    typer.Option(envvar="NOISEPROOF_DATA", help="Folder that holds the data sets."),
]
DataFile = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Your own images instead: .npz, .h5, .mat, or a folder of images by class.",
    ),
]
Name = Annotated[
    str, typer.Argument(metavar="DATASET", help="See `noiseproof list datasets`; or use --data.")
]
Corruptions = Annotated[
    str, typer.Option(metavar="A,B,...", help="Names, see `noiseproof list corruptions`.")
]
Tuned = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Take over the rivals' settings of a finished run."),
]
Task = Annotated[
    str | None, typer.Option(metavar="PRESET", help="Train on its task instead of its own.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]
Open = Annotated[bool, typer.Option("--open", help="Show the report in a browser at the end.")]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write meta-training's curves for TensorBoard, too.")
]
Distributed = Annotated[
    bool, typer.Option("--distributed", help="One of several processes, as SLURM starts them.")
]
Coordinator = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where process 0 is met.")
]
NumProcesses = Annotated[int | None, typer.Option(help="How many there are.", min=1)]
ProcessId = Annotated[int | None, typer.Option(help="Number of this one.", min=0)]

Command = TypeVar("Command", bound=Callable[..., None])

SEARCH: dict[str, tuple[Any, Any]] = {
    "settings": (Settings, NO_SETTINGS),
    "seed": (Seed, 0),
    "tuned": (Tuned, None),
    "resume": (Resume, False),
    "data_dir": (DataDir, None),
}
"""Options of all commands that tune rivals, and their defaults."""


def tunes_rivals(command: Command) -> Command:
    """Gives a command the options of `SEARCH`, which its last parameter `**options` receives."""
    signature = inspect.signature(command)
    own, kind = list(signature.parameters.values())[:-1], inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(name, kind, default=default, annotation=option)
        for name, (option, default) in SEARCH.items()
    ]
    vars(command)["__signature__"] = signature.replace(parameters=[*own, *shared])
    return command


def dataset_name(dataset: str, data: Path | None) -> str:
    """The data set that is named, or the path of one's own.

    Raises:
        ValueError: Neither is given, or both.
    """
    if bool(dataset) == (data is not None):
        both = "not both" if dataset else "got neither"
        raise ValueError(f"Name a data set, or give your own images by --data PATH, {both}.")
    return dataset if data is None else data.as_posix()


def data_setting(data: Path | None) -> list[str]:
    """The setting that one's own images are, if there are any."""
    return [] if data is None else [f"data.name={json.dumps(data.as_posix())}"]


def listed(names: str) -> list[str] | None:
    """Names between commas; None for none."""
    return [name.strip() for name in names.split(",") if name.strip()] if names else None


def open_page(folder: Path) -> None:
    """Opens the page of a run in a browser."""
    webbrowser.open((folder / "report.html").resolve().as_uri())

"""Options that several commands share, as typer takes them."""

from pathlib import Path
from typing import Annotated

import typer

Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Lay a setting over the preset's."),
]
NO_SETTINGS: list[str] = []
"""The default; typer wants a list and never changes it."""

Seed = Annotated[
    int,
    typer.Option(help="Fixes meta-training, tuning and inner runs.", min=0, max=2**32 - 1),
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
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]
Open = Annotated[bool, typer.Option("--open", help="Show the report in a browser at the end.")]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write meta-training's curves for TensorBoard, too.")
]

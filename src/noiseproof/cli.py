"""The words of the command line; what each command does is in `commands`.

Whatever a user can get wrong ends as one line on the error stream and exit code 2, never as a
traceback; Ctrl-C ends with 130. Commands are imported where they are called, so that `--help`
and `--version` answer at once.
"""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import noiseproof
from noiseproof.commands.endings import ended, print_warning

app = typer.Typer(
    help="Learned optimizers that train image classifiers to withstand corruptions.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

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
Task = Annotated[
    str | None, typer.Option(metavar="PRESET", help="Train on its task instead of its own.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]


def print_version(wanted: bool | None) -> None:
    """Prints the version and ends."""
    if wanted:
        typer.echo(f"noiseproof {noiseproof.__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool | None,
        typer.Option("--version", callback=print_version, is_eager=True, help="Show it."),
    ] = None,
) -> None:
    """Learned optimizers that train image classifiers to withstand corruptions."""


@app.command()
def run(
    preset: Annotated[str, typer.Argument(help="See `noiseproof list presets`.")],
    out: Annotated[Path, typer.Option(help="Folder for records, theta and report.")],
    settings: Settings = NO_SETTINGS,
    seed: Seed = 0,
    resume: Resume = False,
    tuned: Tuned = None,
    data_dir: DataDir = None,
    data: DataFile = None,
    distributed: Annotated[
        bool,
        typer.Option("--distributed", help="One of several processes, as SLURM starts them."),
    ] = False,
    coordinator: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where process 0 is met.")
    ] = None,
    num_processes: Annotated[int | None, typer.Option(help="How many there are.", min=1)] = None,
    process_id: Annotated[int | None, typer.Option(help="Number of this one.", min=0)] = None,
) -> None:
    """Meta-train, tune the rivals, compare, record and report."""
    from noiseproof.commands import run
    from noiseproof.experiment.reading import load_preset
    from noiseproof.metatrain.processes import connect, is_first_process

    found = load_preset(preset, [*settings, *_data_setting(data)])
    if distributed or (coordinator, num_processes, process_id) != (None, None, None):
        connect(coordinator, num_processes, process_id)
    console = Console(quiet=not is_first_process())
    run.run(preset, found, out, console, seed=seed, data_dir=data_dir, tuned=tuned, resume=resume)


@app.command()
def plan(
    preset: Annotated[str, typer.Argument(help="See `noiseproof list presets`.")],
    settings: Settings = NO_SETTINGS,
    data_dir: DataDir = None,
    data: DataFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what a run would cost on this machine: memory, compile and run time."""
    from noiseproof.commands import plan
    from noiseproof.experiment.build import build_experiment
    from noiseproof.experiment.reading import load_preset

    found = load_preset(preset, [*settings, *_data_setting(data)])
    plan.plan(preset, build_experiment(found, data_dir), Console(), as_json=as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder, replaced if a demo made it.")] = Path(
        "runs/demo"
    ),
    settings: Settings = NO_SETTINGS,
    seed: Seed = 0,
    resume: Resume = False,
) -> None:
    """The main job on embedded images of digits, in minutes."""
    from noiseproof.commands import run
    from noiseproof.experiment.reading import load_preset

    preset = "gaussian-digits-mlp"
    found = load_preset(preset, settings)
    run.run(preset, found, out, Console(), seed=seed, resume=resume, replace=True)


@app.command()
def train(
    optimizer: Annotated[str, typer.Option(help="A shipped name, or the folder of a run.")],
    out: Annotated[Path, typer.Option(help="File for the weights, .safetensors.")],
    dataset: Name = "",
    steps: Annotated[
        int | None, typer.Option(help="Length of the run; else that of meta-training.", min=1)
    ] = None,
    settings: Settings = NO_SETTINGS,
    seed: Seed = 0,
    data_dir: DataDir = None,
    data: DataFile = None,
) -> None:
    """Train a classifier with a learned optimizer; show its clean and corrupted accuracy.

    Settings default to those that it was meta-trained with.
    """
    from noiseproof.commands import train

    values = [f"data.name={json.dumps(_dataset_name(dataset, data))}"]
    if steps is not None:
        values.append(f"inner.num_steps={steps}")
    train.train(optimizer, [*values, *settings], out, Console(), seed=seed, data_dir=data_dir)


@app.command()
def evaluate(
    optimizer: Annotated[str, typer.Argument(help="A shipped name, or the folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder for records and report.")],
    settings: Settings = NO_SETTINGS,
    seed: Seed = 0,
    transferred: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Show rivals also as they were tuned in a run of meta-training."
        ),
    ] = None,
    tuned: Tuned = None,
    resume: Resume = False,
    data_dir: DataDir = None,
    data: DataFile = None,
    corrupted: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A released CIFAR-10-C or MNIST-C to test on, too."),
    ] = None,
) -> None:
    """Compare a learned optimizer, as it is, with rivals tuned on the same data.

    Settings default to those that it was meta-trained with.
    """
    from noiseproof.commands import evaluate

    evaluate.evaluate(
        optimizer,
        [*settings, *_data_setting(data)],
        out,
        Console(),
        seed=seed,
        data_dir=data_dir,
        transferred=transferred,
        tuned=tuned,
        resume=resume,
        corrupted=corrupted,
    )


@app.command()
def study(
    optimizers: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME_OR_FOLDER...",
            help="A shipped name or the folder of a run; of others after it the rates are shown.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for records and page.")],
    task: Task = None,
    settings: Settings = NO_SETTINGS,
    seed: Seed = 0,
    tuned: Tuned = None,
    resume: Resume = False,
    data_dir: DataDir = None,
) -> None:
    """Show what a learned optimizer learned, and what its classifiers respond to."""
    from noiseproof.commands import study

    where = {"folder": out, "task": task, "settings": settings, "data_dir": data_dir}
    study.study(optimizers, Console(), **where, seed=seed, tuned=tuned, resume=resume)


@app.command()
def distill(
    optimizer: Annotated[str, typer.Argument(help="A shipped name, or the folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder for distilled.json.")],
    constants: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Judge what was distilled in this folder instead."),
    ] = None,
    task: Task = None,
    settings: Settings = NO_SETTINGS,
    seed: Seed = 0,
    tuned: Tuned = None,
    resume: Resume = False,
    data_dir: DataDir = None,
) -> None:
    """Fit six constants to a learned optimizer, and say how much of its gain they keep."""
    from noiseproof.commands import distill

    where = {"folder": out, "task": task, "settings": settings, "data_dir": data_dir}
    options = {"constants": constants, "seed": seed, "tuned": tuned, "resume": resume}
    distill.distill(optimizer, Console(), **where, **options)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder with records.")],
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Write its first figure, too.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print clean error, mCE and relative mCE.")
    ] = False,
    baseline: Annotated[str, typer.Option(help="The optimizer that mCE is relative to.")] = "adam",
) -> None:
    """Write report.html and summary.json anew from the records in a folder."""
    from noiseproof.report.page import metrics_text, write_figure, write_report

    if (folder / "study.json").is_file() and not (folder / "run.json").is_file():
        from noiseproof.report.study_page import write_study_page

        typer.echo(write_study_page(folder))
        return
    if metrics:
        typer.echo(metrics_text(folder, baseline))
    typer.echo(write_report(folder))
    if figure is not None:
        typer.echo(write_figure(folder, figure))


@app.command()
def corrupt(
    out: Annotated[Path, typer.Option(help="Folder for the arrays, new or empty.")],
    dataset: Name = "",
    corruptions: Corruptions = "",
    limit: Annotated[int | None, typer.Option(help="Only so many images.", min=1)] = None,
    seed: Seed = 0,
    resume: Resume = False,
    data_dir: DataDir = None,
    data: DataFile = None,
) -> None:
    """Write corrupted test images of a data set in the layout of CIFAR-10-C."""
    from noiseproof.commands import corrupt

    corrupt.corrupt(
        _dataset_name(dataset, data),
        out,
        Console(),
        corruptions=_names(corruptions),
        seed=seed,
        limit=limit,
        resume=resume,
        data_dir=data_dir,
    )


@app.command()
def preview(
    out: Annotated[Path, typer.Option(help="The picture to write, .png for example.")],
    dataset: Name = "",
    corruptions: Corruptions = "",
    image: Annotated[int, typer.Option(help="Number of the test image.", min=0)] = 0,
    seed: Seed = 0,
    data_dir: DataDir = None,
    data: DataFile = None,
) -> None:
    """Draw a contact sheet: a test image under every corruption and severity."""
    from noiseproof.commands import preview, progress

    with progress.named_progress(Console()) as show:
        path = preview.preview(
            _dataset_name(dataset, data),
            out,
            data_dir=data_dir,
            corruptions=_names(corruptions),
            image=image,
            seed=seed,
            report=show,
        )
    typer.echo(path)


@app.command("list")
def list_names(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Leave out for all kinds.")] = "",
) -> None:
    """Show the names that other commands take."""
    from noiseproof.commands import names

    typer.echo(names.describe(kind))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A data set to download.")],
    data_dir: DataDir = None,
) -> None:
    """Download a standard data set, checked by its SHA-256; goes on where it was cut off."""
    from noiseproof.commands import fetch

    if data_dir is None:
        raise ValueError("Name the folder to download to: --data-dir DIR, or NOISEPROOF_DATA.")
    fetch.fetch(name, data_dir, Console())


def _dataset_name(dataset: str, data: Path | None) -> str:
    if bool(dataset) == (data is not None):
        raise ValueError("Name a data set, or give your own images by --data PATH.")
    return dataset if data is None else data.as_posix()


def _names(listed: str) -> list[str] | None:
    return [name.strip() for name in listed.split(",")] if listed else None


def _data_setting(data: Path | None) -> list[str]:
    return [] if data is None else [f"data.name={json.dumps(data.as_posix())}"]


def main() -> None:
    """Runs a command and turns what went wrong into one line and an exit code."""
    warnings.showwarning = print_warning
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(arguments: Sequence[str]) -> int:
    """Runs a command; 0, 2 where the user was wrong, 1 where the machine was, 130 after Ctrl-C."""
    return ended(lambda: app(arguments, standalone_mode=False) or 0)

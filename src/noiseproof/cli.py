"""The words of the command line; what each command does is in `commands`.

Whatever a user can get wrong ends as one line on the error stream and exit code 2, never as a
traceback; Ctrl-C ends with 130. Commands are imported where they are called, so that `--help`
and `--version` answer at once.
"""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import noiseproof
from noiseproof.terminal.failures import code_of, print_warning
from noiseproof.terminal.options import (
    NO_SETTINGS,
    Coordinator,
    Corruptions,
    DataDir,
    DataFile,
    Distributed,
    Name,
    NumProcesses,
    Open,
    ProcessId,
    Resume,
    Seed,
    Settings,
    Task,
    TensorBoard,
    data_setting,
    dataset_name,
    listed,
    open_page,
    tunes_rivals,
)
from noiseproof.terminal.welcome import WELCOME

app = typer.Typer(
    help="Learned optimizers that train image classifiers to withstand corruptions.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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
@tunes_rivals
def run(
    preset: Annotated[str, typer.Argument(help="See `noiseproof list presets`.")],
    out: Annotated[Path, typer.Option(help="Folder for records, theta and report.")],
    data: DataFile = None,
    show: Open = False,
    tensorboard: TensorBoard = False,
    distributed: Distributed = False,
    coordinator: Coordinator = None,
    num_processes: NumProcesses = None,
    process_id: ProcessId = None,
    **options: Any,
) -> None:
    """Meta-train, tune the rivals, compare, record and report."""
    from noiseproof.commands import run
    from noiseproof.experiment.reading import load_preset
    from noiseproof.metatrain.processes import connect, is_first_process

    found = load_preset(preset, [*options.pop("settings"), *data_setting(data)])
    if distributed or (coordinator, num_processes, process_id) != (None, None, None):
        connect(coordinator, num_processes, process_id)
    console = Console(quiet=not is_first_process())
    run.run(preset, found, out, console, tensorboard=tensorboard, **options)
    if show and is_first_process():
        open_page(out)


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
    from noiseproof.metatrain.sharding import use_all_cores

    use_all_cores()
    found = load_preset(preset, [*settings, *data_setting(data)])
    plan.plan(preset, build_experiment(found, data_dir), Console(), as_json=as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder, replaced if a demo made it.")] = Path(
        "runs/demo"
    ),
    settings: Settings = NO_SETTINGS,
    seed: Seed = 0,
    resume: Resume = False,
    show: Open = False,
    tensorboard: TensorBoard = False,
) -> None:
    """The main job on embedded images of digits, in minutes."""
    from noiseproof.commands import run
    from noiseproof.experiment.reading import load_preset

    preset = "gaussian-digits-mlp"
    found = load_preset(preset, settings)
    run.run(
        preset,
        found,
        out,
        Console(),
        seed=seed,
        resume=resume,
        replace=True,
        tensorboard=tensorboard,
    )
    if show:
        open_page(out)


@app.command()
def train(
    optimizer: Annotated[str, typer.Option(help="A shipped name, or the folder of a run.")],
    out: Annotated[Path, typer.Option(help="File for the weights, .safetensors.")],
    dataset: Name = "",
    steps: Annotated[
        int | None, typer.Option(help="Length of the run; else that of meta-training.", min=10)
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

    values = data_setting(Path(dataset_name(dataset, data)))
    values += [] if steps is None else [f"inner.num_steps={steps}"]
    train.train(optimizer, [*values, *settings], out, Console(), seed=seed, data_dir=data_dir)


@app.command()
@tunes_rivals
def evaluate(
    optimizer: Annotated[str, typer.Argument(help="A shipped name, or the folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder for records and report.")],
    transferred: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Show rivals also as they were tuned in a run of meta-training."
        ),
    ] = None,
    data: DataFile = None,
    corrupted: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A released CIFAR-10-C or MNIST-C to test on, too."),
    ] = None,
    show: Open = False,
    **options: Any,
) -> None:
    """Compare a learned optimizer, as it is, with rivals tuned on the same data.

    Settings default to those that it was meta-trained with.
    """
    from noiseproof.commands import evaluate

    settings = [*options.pop("settings"), *data_setting(data)]
    options |= {"transferred": transferred, "corrupted": corrupted}
    evaluate.evaluate(optimizer, settings, out, Console(), **options)
    if show:
        open_page(out)


@app.command()
@tunes_rivals
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
    **options: Any,
) -> None:
    """Show what a learned optimizer learned, and what its classifiers respond to."""
    from noiseproof.commands.inquiry import inquire
    from noiseproof.experiment.study import study

    inquire(study, *optimizers, folder=out, task=task, **options)


@app.command()
@tunes_rivals
def distill(
    optimizer: Annotated[str, typer.Argument(help="A shipped name, or the folder of a run.")],
    out: Annotated[Path, typer.Option(help="Folder for distilled.json.")],
    constants: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Judge what was distilled in this folder instead."),
    ] = None,
    task: Task = None,
    **options: Any,
) -> None:
    """Fit six constants to a learned optimizer, and say how much of its gain they keep."""
    from noiseproof.commands.inquiry import inquire
    from noiseproof.experiment.distill import distill

    inquire(distill, optimizer, folder=out, task=task, constants=constants, **options)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder with records.")],
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Write a figure of it, too.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print clean error, mCE and relative mCE.")
    ] = False,
    baseline: Annotated[str, typer.Option(help="The optimizer that mCE is relative to.")] = "adam",
    show: Open = False,
) -> None:
    """Write report.html and summary.json anew from the records in a folder."""
    from noiseproof.commands import report

    report.report(folder, figure=figure, metrics=metrics, baseline=baseline)
    if show:
        open_page(folder)


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
        dataset_name(dataset, data),
        out,
        Console(),
        corruptions=listed(corruptions),
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
    from noiseproof.commands import preview
    from noiseproof.terminal.progress import named_progress

    with named_progress(Console()) as show:
        path = preview.preview(
            dataset_name(dataset, data),
            out,
            data_dir=data_dir,
            corruptions=listed(corruptions),
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
def publish(
    optimizer: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder of a run.")],
    out: Annotated[Path, typer.Option(help="The folder to share, new or empty.")],
) -> None:
    """Write a learned optimizer in the layout of a model hub; `load` takes the folder."""
    from noiseproof.zoo import publish

    typer.echo(publish(optimizer, out))


@app.command()
def settings(
    section: Annotated[str, typer.Argument(metavar="SECTION", help="Leave out for all.")] = "",
) -> None:
    """Show every setting that `--set` takes: default, values, meaning."""
    from noiseproof.commands.settings import as_text

    typer.echo(as_text(section))


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


def main() -> None:
    """Runs a command and turns what went wrong into one line and an exit code."""
    warnings.showwarning = print_warning
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(arguments: Sequence[str]) -> int:
    """Runs a command; 0, 2 where the user was wrong, 1 where the machine was, 130 after Ctrl-C."""
    if not arguments:
        typer.echo(WELCOME, nl=False)
        return 0
    return code_of(lambda: app(arguments, standalone_mode=False))

"""A learned optimizer as six constants, on a console."""

from typing import Any

import typer
from rich.console import Console

from noiseproof.experiment import distill as experiment
from noiseproof.metatrain.sharding import use_all_cores
from noiseproof.terminal.progress import on_console


def distill(optimizer: str, console: Console, **options: Any) -> None:
    """Distills a learned optimizer and prints the rule; see `experiment.distill.distill`.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    use_all_cores()
    with on_console(console, lambda: False) as progress:
        found = experiment.distill(optimizer, progress=progress, **options)
    typer.echo(found)

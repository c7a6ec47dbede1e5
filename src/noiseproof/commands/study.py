"""A study of a learned optimizer on a console."""

from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console

from noiseproof.experiment import study as experiment
from noiseproof.metatrain.sharding import use_all_cores
from noiseproof.terminal.progress import on_console


def study(optimizers: Sequence[str], console: Console, **options: Any) -> None:
    """Studies the first of some learned optimizers; see `experiment.study.study`.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    use_all_cores()
    with on_console(console, lambda: False) as progress:
        found = experiment.study(*optimizers, progress=progress, **options)
    typer.echo(f"{found}\n{found.page}")

"""Studies and distillations of learned optimizers on a console."""

from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from noiseproof.metatrain.sharding import use_all_cores
from noiseproof.terminal.progress import on_console


def inquire(inquiry: Callable[..., Any], *optimizers: str, **options: Any) -> None:
    """Prints what an inquiry finds: `experiment.study.study` or `experiment.distill.distill`.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
    """
    use_all_cores()
    with on_console(Console()) as progress:
        found = inquiry(*optimizers, progress=progress, **options)
    typer.echo(found)

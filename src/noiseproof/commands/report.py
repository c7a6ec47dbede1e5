"""The page of a folder, made anew from its records."""

from pathlib import Path

import typer

from noiseproof.messages import short
from noiseproof.report.page import metrics_text, write_figure, write_report
from noiseproof.report.study_page import write_study_page


def report(folder: Path, *, figure: Path | None, metrics: bool, baseline: str) -> None:
    """Writes the page of a run or a study, and what else is wanted of a run.

    Raises:
        ValueError: There are no records, or they are damaged.
    """
    if figure is not None and (figure.suffix != ".svg" or not figure.parent.is_dir()):
        raise ValueError(
            f"The figure must be a file .svg in a folder that exists, got {short(str(figure))}."
        )
    if (folder / "study.json").is_file() and not (folder / "run.json").is_file():
        typer.echo(write_study_page(folder))
        return
    if metrics:
        typer.echo(metrics_text(folder, baseline))
    typer.echo(write_report(folder))
    if figure is not None:
        typer.echo(write_figure(folder, figure))

"""What was assumed in reading data, told on the console's error output."""

import typer

from noiseproof.data import Dataset


def tell_notices(dataset: Dataset) -> None:
    """Prints a line for each thing that the reader of a data set assumed."""
    for notice in dataset.notices:
        typer.echo(f"noiseproof: notice: {notice}", err=True)

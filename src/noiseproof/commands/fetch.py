"""Downloading a data set, with progress."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from noiseproof.data.fetch import fetch as fetch_files


def fetch(name: str, data_dir: Path, console: Console) -> None:
    """Downloads the files of a data set and prints where they lie.

    Raises:
        ValueError: An unknown name, or a file that is not the published one.
        OSError: The network or the disk failed; a later call goes on from there.
    """
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(name, total=None)
        paths = fetch_files(
            name, data_dir, lambda done, total: progress.update(bar, completed=done, total=total)
        )
    for path in paths:
        console.print(str(path), soft_wrap=True)

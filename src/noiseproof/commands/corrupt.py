"""A corrupted data set, written with its progress on the console."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from noiseproof.experiment.corrupted_dataset import corrupt_dataset
from noiseproof.terminal.notices import tell_notices
from noiseproof.terminal.progress import named_progress


def corrupt(
    dataset: str,
    out: Path,
    console: Console,
    *,
    corruptions: Sequence[str] | None,
    seed: int,
    limit: int | None,
    resume: bool,
    data_dir: Path | None,
) -> list[Path]:
    """Writes the files; see `experiment.corrupted_dataset.corrupt_dataset`."""
    with named_progress(console) as report:
        files = corrupt_dataset(
            dataset,
            out,
            data_dir=data_dir,
            corruptions=corruptions,
            seed=seed,
            limit=limit,
            resume=resume,
            report=report,
            tell=tell_notices,
        )
    console.print(f"{len(files)} files in {out}", soft_wrap=True, highlight=False)
    return files

"""The curves of meta-training as files for TensorBoard, beside the records."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from noiseproof.experiment.progress import Progress
from noiseproof.extras import library
from noiseproof.results import MetricsLine
from noiseproof.terminal.progress import Report, each_anew

FOLDER = "tensorboard"
CURVES = ("meta_loss", "select_loss", "snr", "gradient_norm", "diverged_share")
"""Fields of a line of metrics that are drawn, each over outer steps."""


@contextmanager
def on_tensorboard(progress: Progress, folder: Path) -> Iterator[Progress]:
    """The same progress, which also writes the curves to `tensorboard/` in the folder of the run.

    Each meta-training of the run, those of controls too, has curves of its own. Nothing is written
    before the first outer step.

    Raises:
        ValueError: tensorboardX is not installed.
    """
    writers = library("tensorboardX", "--tensorboard", extra="tensorboard")
    with ExitStack() as stack:
        num_begun = 0

        def begin(_num_outer_steps: int) -> Report:
            nonlocal num_begun
            num_begun += 1
            place = str(folder / FOLDER / f"meta-training-{num_begun}")
            writer = stack.enter_context(writers.SummaryWriter(place))

            def report(line: MetricsLine) -> None:
                for name in CURVES:
                    value = getattr(line, name)
                    if value is not None and math.isfinite(value):
                        writer.add_scalar(name, value, line.outer_step)

            return report

        write = each_anew(begin)

        def outer_step(line: MetricsLine, num_outer_steps: int) -> None:
            write(line, num_outer_steps)
            progress.outer_step(line, num_outer_steps)

        yield progress._replace(outer_step=outer_step)

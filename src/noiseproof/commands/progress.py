"""Progress: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from noiseproof.results import MetricsLine

SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[MetricsLine], None]


@contextmanager
def meta_training_progress(console: Console, num_outer_steps: int) -> Iterator[Report]:
    """Shows meta-loss, inner steps per second and time left; gives what to call each step."""
    if console.is_terminal:
        with _bar(console) as bar:
            yield _on_bar(bar, num_outer_steps)
    else:
        yield _as_lines(console, num_outer_steps)


def _bar(console: Console) -> Progress:
    words = TextColumn("meta-loss {task.fields[loss]}  {task.fields[rate]} inner steps/s")
    columns = (TextColumn("{task.description}"), BarColumn(), words, TimeRemainingColumn())
    return Progress(*columns, console=console)


def _on_bar(bar: Progress, num_outer_steps: int) -> Report:
    task = bar.add_task("meta-training", total=num_outer_steps, loss="-", rate="-")
    rate = _rates()

    def report(line: MetricsLine) -> None:
        bar.update(
            task,
            completed=line.outer_step,
            loss=f"{line.meta_loss:.3f}",
            rate=f"{rate(line):,.0f}",
        )

    return report


def _as_lines(console: Console, num_outer_steps: int) -> Report:
    rate = _rates()
    last = -SECONDS_BETWEEN_LINES

    def report(line: MetricsLine) -> None:
        nonlocal last
        speed = rate(line)
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and line.outer_step < num_outer_steps:
            return
        last = now
        steps_left = num_outer_steps - line.outer_step
        seconds_left = steps_left * line.inner_steps / line.outer_step / max(speed, 1e-9)
        console.print(
            f"outer step {line.outer_step}/{num_outer_steps}  meta-loss {line.meta_loss:.3f}  "
            f"{speed:,.0f} inner steps/s  {seconds_left:.0f} s left",
            soft_wrap=True,
        )

    return report


def _rates() -> Callable[[MetricsLine], float]:
    """Inner steps per second since the first step seen, which compiled."""
    first: MetricsLine | None = None

    def rate(line: MetricsLine) -> float:
        nonlocal first
        if first is None:
            first = line
            return line.inner_steps / line.outer_step / max(line.seconds, 1e-9)
        seconds = max(line.seconds - first.seconds, 1e-9)
        return (line.inner_steps - first.inner_steps) / seconds

    return rate

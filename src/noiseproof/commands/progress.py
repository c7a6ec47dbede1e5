"""Progress: a live bar on a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console

from noiseproof.experiment.progress import Progress
from noiseproof.results import MetricsLine

SECONDS_BETWEEN_LINES = 10.0

Report = Callable[[MetricsLine], None]


@contextmanager
def on_console(console: Console, should_stop: Callable[[], bool]) -> Iterator[Progress]:
    """Shows lines as they come, and meta-loss, inner steps per second and time left."""

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    if console.is_terminal:
        with _bar(console) as bar:
            yield Progress(say, _each_anew(lambda total: _on_bar(bar, total)), should_stop)
    else:
        yield Progress(say, _each_anew(lambda total: _as_lines(console, total)), should_stop)


def _each_anew(begin: Callable[[int], Report]) -> Callable[[MetricsLine, int], None]:
    """Reports to a new one for every meta-training, which is seen by its first outer steps."""
    report, last = None, 0

    def outer_step(line: MetricsLine, num_outer_steps: int) -> None:
        nonlocal report, last
        if report is None or line.outer_step <= last:
            report = begin(num_outer_steps)
        last = line.outer_step
        report(line)

    return outer_step


@contextmanager
def named_progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Shows a bar for each of several jobs; gives what to call with name, done and total."""
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console) as bar:
        tasks: dict[str, bars.TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name)
            bar.update(tasks[name], completed=done, total=total)

        yield report


def _bar(console: Console) -> bars.Progress:
    words = bars.TextColumn("meta-loss {task.fields[loss]}  {task.fields[rate]} inner steps/s")
    name, left = bars.TextColumn("{task.description}"), bars.TimeRemainingColumn()
    columns = (name, bars.BarColumn(), words, left)
    return bars.Progress(*columns, console=console)


def _on_bar(bar: bars.Progress, num_outer_steps: int) -> Report:
    task = bar.add_task("meta-training", total=num_outer_steps, loss="-", rate="-")
    speed = _speedometer()

    def report(line: MetricsLine) -> None:
        rate = speed(line)
        loss, speed_words = _loss_words(line), f"{rate:,.0f}" if rate else "-"
        bar.update(task, completed=line.outer_step, loss=loss, rate=speed_words)

    return report


def _as_lines(console: Console, num_outer_steps: int) -> Report:
    speed = _speedometer()
    last = -SECONDS_BETWEEN_LINES

    def report(line: MetricsLine) -> None:
        nonlocal last
        rate, now = speed(line), time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and line.outer_step < num_outer_steps:
            return
        last = now
        words = f"outer step {line.outer_step}/{num_outer_steps}  meta-loss {_loss_words(line)}"
        if rate:
            steps_left = (num_outer_steps - line.outer_step) * line.inner_steps / line.outer_step
            words += f"  {rate:,.0f} inner steps/s  {steps_left / rate:.0f} s left"
        console.print(words, soft_wrap=True)

    return report


def _loss_words(line: MetricsLine) -> str:
    # None counts yet while all runs are young and only their last part does.
    loss = line.meta_loss
    return f"{loss:.3f}" if loss is not None and math.isfinite(loss) else "-"


def _speedometer() -> Callable[[MetricsLine], float | None]:
    """Inner steps per second since the first step seen, which compiled; None at that one."""
    first: MetricsLine | None = None

    def speed(line: MetricsLine) -> float | None:
        nonlocal first
        if first is None:
            first = line
            return None
        seconds = max(line.seconds - first.seconds, 1e-9)
        return (line.inner_steps - first.inner_steps) / seconds

    return speed

"""Progress: a live bar on a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console

from noiseproof.experiment.progress import Progress
from noiseproof.results import MetricsLine

SECONDS_BETWEEN_LINES, SECONDS_UNTIL_FIRST_LINE = 10.0, 5.0

Report = Callable[[MetricsLine], None]


@contextmanager
def on_console(console: Console, should_stop: Callable[[], bool]) -> Iterator[Progress]:
    """Shows lines as they come, and meta-loss, inner steps per second and time left."""

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    if console.is_terminal:
        with _bar(console) as bar:
            outer_step = each_anew(lambda total: _on_bar(bar, total))
            yield Progress(say, _parts_on_bar(bar), outer_step, should_stop)
    else:
        outer_step = each_anew(lambda total: _as_lines(console, total))
        yield Progress(say, _parts_as_lines(say), outer_step, should_stop)


def each_anew(begin: Callable[[int], Report]) -> Callable[[MetricsLine, int], None]:
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
    words = bars.TextColumn("{task.fields[words]}")
    name, left = bars.TextColumn("{task.description}"), bars.TimeRemainingColumn()
    columns = (name, bars.BarColumn(), words, left)
    return bars.Progress(*columns, console=console)


def _on_bar(bar: bars.Progress, num_outer_steps: int) -> Report:
    task = bar.add_task("meta-training", total=num_outer_steps, words="")
    speed = _speedometer()

    def report(line: MetricsLine) -> None:
        rate = speed(line)
        words = f"meta-loss {_loss_words(line)}  {f'{rate:,.0f}' if rate else '-'} inner steps/s"
        bar.update(task, completed=line.outer_step, words=words)

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


Part = Callable[[str, int, int], None]


def _parts_on_bar(bar: bars.Progress) -> Part:
    """A bar for the part that is under way, with its rate; another part's takes its place."""
    shown: dict[str, tuple[bars.TaskID, Rate]] = {}

    def part(name: str, done: int, total: int) -> None:
        if name not in shown:
            for task, _ in shown.values():
                bar.remove_task(task)
            shown.clear()
            shown[name] = (bar.add_task(name, total=total, words=""), _rate())
        task, rate = shown[name]
        per_second = rate(done)
        words = f"{done}/{total} runs" + (f"  {per_second:,.3g} runs/s" if per_second else "")
        bar.update(task, completed=done, total=total, words=words)

    return part


def _parts_as_lines(say: Callable[[str], None]) -> Part:
    """A line every few seconds for the part that is under way."""
    shown, rate, last = "", _rate(), 0.0

    def part(name: str, done: int, total: int) -> None:
        nonlocal shown, rate, last
        now = time.monotonic()
        if name != shown:
            shown, rate = name, _rate()
            last = now - SECONDS_BETWEEN_LINES + SECONDS_UNTIL_FIRST_LINE
        per_second = rate(done)
        if per_second and now - last >= SECONDS_BETWEEN_LINES and done < total:
            last, left = now, (total - done) / per_second
            say(f"{name}: {done}/{total} runs  {per_second:,.3g} runs/s  {left:,.0f} s left")

    return part


Rate = Callable[[int], float | None]


def _rate() -> Rate:
    """What is done per second since the first call; None while nothing is known."""
    first: tuple[int, float] | None = None

    def rate(done: int) -> float | None:
        nonlocal first
        now = time.monotonic()
        if first is None:
            first = done, now
        return (done - first[0]) / max(now - first[1], 1e-9) or None

    return rate


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

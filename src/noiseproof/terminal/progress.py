"""Progress: a live bar on a terminal, plain lines elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console

from noiseproof.experiment.progress import Progress
from noiseproof.report.tables import duration
from noiseproof.results import MetricsLine

SECONDS_BETWEEN_LINES, SECONDS_UNTIL_FIRST_LINE = 10.0, 5.0

SECONDS_MEASURED = 60.0
"""A search that takes longer says already then how long all of them will take."""

Report = Callable[[MetricsLine], None]


@contextmanager
def on_console(console: Console, num_runs: int = 0) -> Iterator[Progress]:
    """Shows lines as they come, and meta-loss, inner steps per second and time left.

    Args:
        console: Where.
        num_runs: Runs of all searches and tests, whose time is said when the first search is done;
            0 where it is not to be.
    """

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    if console.is_terminal:
        with _bar(console) as bar:
            outer_step = each_anew(lambda total: _with_time(say, _on_bar(bar, total), total))
            part = _with_time_of_all(say, _parts_on_bar(bar), num_runs)
            yield Progress(say, part, outer_step)
    else:
        outer_step = each_anew(lambda total: _with_time(say, _as_lines(console, total), total))
        part = _with_time_of_all(say, _parts_as_lines(say), num_runs)
        yield Progress(say, part, outer_step)


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


def _with_time(say: Callable[[str], None], report: Report, num_outer_steps: int) -> Report:
    """Says, when a rate is first measured, how long all of meta-training takes at it."""
    speed, is_said = _speedometer(), False

    def tell(line: MetricsLine) -> None:
        nonlocal is_said
        rate = speed(line)
        if rate and not is_said:
            seconds = num_outer_steps * line.inner_steps / line.outer_step / rate
            say(f"meta-training takes about {duration(seconds)} at this rate")
            is_said = True
        report(line)

    return tell


Part = Callable[[str, str, int, int], None]


def _with_time_of_all(say: Callable[[str], None], report: Part, num_runs: int) -> Part:
    """Says, when the first search is done, how long all take at its rate, compiling included."""
    began, is_said = 0.0, num_runs == 0

    def part(name: str, unit: str, done: int, total: int) -> None:
        nonlocal began, is_said
        report(name, unit, done, total)
        if unit != "runs":
            return
        began = began or time.monotonic()
        seconds = time.monotonic() - began
        if not is_said and done and (done >= total or seconds > SECONDS_MEASURED):
            took = duration(num_runs * seconds / done)
            say(f"all searches and tests take about {took} at the rate of {name}")
            is_said = True

    return part


def _parts_on_bar(bar: bars.Progress) -> Part:
    """A bar for the part that is under way, with its rate; another part's takes its place."""
    shown: dict[str, tuple[bars.TaskID, Rate]] = {}

    def part(name: str, unit: str, done: int, total: int) -> None:
        if name not in shown:
            for task, _ in shown.values():
                bar.remove_task(task)
            shown.clear()
            shown[name] = (bar.add_task(name, total=total, words=""), _rate())
        task, rate = shown[name]
        per_second = rate(done)
        rate_words = f"  {per_second:,.3g} {unit}/s" if per_second else ""
        words = f"{done}/{total} {unit}{rate_words}"
        bar.update(task, completed=done, total=total, words=words)

    return part


def _parts_as_lines(say: Callable[[str], None]) -> Part:
    """A line every few seconds for the part that is under way."""
    shown, rate, last = "", _rate(), 0.0

    def part(name: str, unit: str, done: int, total: int) -> None:
        nonlocal shown, rate, last
        now = time.monotonic()
        if name != shown:
            shown, rate = name, _rate()
            last = now - SECONDS_BETWEEN_LINES + SECONDS_UNTIL_FIRST_LINE
        per_second = rate(done)
        if per_second and now - last >= SECONDS_BETWEEN_LINES and done < total:
            last, left = now, (total - done) / per_second
            say(f"{name}: {done}/{total} {unit}  {per_second:,.3g} {unit}/s  {left:,.0f} s left")

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

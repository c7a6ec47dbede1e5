"""The main job on a console: meta-train, tune the rivals, compare, record, report."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import typer
from rich.console import Console

from noiseproof.commands.plan import num_compared_runs, work_in_words
from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.running import run_experiment
from noiseproof.experiment.settings import Settings
from noiseproof.metatrain.sharding import use_all_cores
from noiseproof.results import Summary
from noiseproof.terminal.notices import tell_notices
from noiseproof.terminal.progress import on_console
from noiseproof.terminal.tensorboard import on_tensorboard


def run(
    preset: str,
    settings: Settings,
    folder: Path,
    console: Console,
    *,
    seed: int,
    data_dir: Path | None = None,
    tuned: Path | None = None,
    resume: bool = False,
    replace: bool = False,
    tensorboard: bool = False,
) -> Summary | None:
    """Runs an experiment from nothing to its report; see `experiment.running.run_experiment`.

    Raises:
        ValueError: Whatever is wrong, in one line, before anything is written.
        SystemExit: With 130 after Ctrl-C, 143 after SIGTERM, when a checkpoint is written.
    """
    use_all_cores()
    experiment = build_experiment(settings, data_dir)
    if not console.quiet:
        tell_notices(experiment.problem.dataset)
    console.print(work_in_words(experiment), soft_wrap=True, highlight=False)
    with ExitStack() as stack:
        meta_steps = experiment.plan.num_outer_steps * experiment.meta.estimator.num_inner_steps
        num_runs = 0 if tuned or resume else num_compared_runs(experiment, meta_steps)
        progress = stack.enter_context(on_console(console, num_runs))
        progress = progress._replace(stopping=stop_on_signals)
        if tensorboard:
            progress = stack.enter_context(on_tensorboard(progress, folder))
        return run_experiment(
            experiment,
            folder,
            progress,
            name=preset,
            seed=seed,
            tuned=tuned,
            resume=resume,
            replace=replace,
        )


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into a question that meta-training asks; a second one is at once.

    What comes after meta-training ends at the first, as it would anywhere: what was searched is on
    disk, and a record is written whole or not at all.

    Raises:
        SystemExit: With 130 after Ctrl-C, 143 after SIGTERM, when the loop has stopped.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    handled = (signal.SIGINT, signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in handled if in_main_thread}
    try:
        yield lambda: bool(received)
    except KeyboardInterrupt:
        typer.echo("noiseproof: stopped; the same command with --resume goes on", err=True)
        raise SystemExit(128 + (received[0] if received else signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

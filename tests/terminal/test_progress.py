"""What a run says of how far it is, on a terminal and in a log, and what it writes beside."""

import io
import re
import struct
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from noiseproof.evaluate.tuning import Budget, counted
from noiseproof.experiment.progress import SILENT, corrupting
from noiseproof.results import MetricsLine
from noiseproof.terminal import progress as shown
from noiseproof.terminal.progress import on_console
from noiseproof.terminal.tensorboard import on_tensorboard


class Clock:
    """Time that only tests move on."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(shown, "time", made)
    return made


def line(step: int, loss: float | None = 1.5) -> MetricsLine:
    return MetricsLine(
        outer_step=step,
        meta_loss=loss,
        select_loss=None,
        inner_steps=100 * step,
        seconds=2.0 * step,
        snr=1.0,
        gradient_norm=2.0,
        diverged_share=0.0,
    )


def test_a_log_says_rate_and_time_left_of_a_search_every_ten_seconds(clock: Clock) -> None:
    """Catches silence over minutes, a line for every call, and a rate that counts compiling."""
    written = io.StringIO()
    with on_console(Console(file=written)) as progress:
        progress.part("tuning adam", "runs", 0, 100)
        for done in range(10, 101, 10):
            clock.now += 4.0
            progress.part("tuning adam", "runs", done, 100)
        progress.part("tuning sgd", "runs", 0, 100)
        clock.now += 4.0
        progress.part("tuning sgd", "runs", 10, 100)
    assert written.getvalue().splitlines() == [
        "tuning adam: 20/100 runs  2.5 runs/s  32 s left",
        "tuning adam: 50/100 runs  2.5 runs/s  20 s left",
        "tuning adam: 80/100 runs  2.5 runs/s  8 s left",
    ]


def test_a_terminal_shows_a_bar_of_the_part_under_way_alone(clock: Clock) -> None:
    """Catches the bars of eighteen finished searches that push the table off the screen."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    with on_console(console) as progress:
        for name in ("tuning adam", "tuning sgd"):
            for done in (0, 50, 100):
                progress.part(name, "runs", done, 100)
                clock.now += 10.0
        progress.outer_step(line(1), 4)
    last = written.getvalue().rpartition("meta-loss")[0].rpartition("tuning sgd")
    assert "tuning adam" in last[0]
    assert "100/100 runs  5 runs/s" in last[2]
    assert "tuning adam" not in written.getvalue()[-400:]


def test_time_is_said_once_when_a_rate_is_measured(clock: Clock) -> None:
    """Catches a time that leaves out other searches, and one that is said again and again.

    Ten runs in 20 s are 2 s a run; an outer step is 100 inner steps in 2 s, so that 40 take 80 s.
    """
    for is_terminal in (False, True):
        written = io.StringIO()
        console = Console(file=written, force_terminal=is_terminal, width=100)
        with on_console(console, 1000) as progress:
            for step in range(1, 4):
                progress.outer_step(line(step), 40)
            for name in ("tuning adam", "tuning sgd"):
                progress.part(name, "runs", 0, 10)
                clock.now += 20.0
                progress.part(name, "runs", 10, 10)
        said = re.sub(r"\x1b\[[\d;]*m", "", written.getvalue())
        assert said.count("meta-training takes about 1 min 20 s at this rate") == 1
        assert (
            said.count("all searches and tests take about 33 min 20 s at the rate of tuning") == 1
        )
        assert said.count("take about") == 1


def test_corrupting_says_how_far_it_is(clock: Clock) -> None:
    """Catches minutes of silence, and a unit that is not that of the part."""
    written = io.StringIO()
    with on_console(Console(file=written)) as progress:
        tell = corrupting(progress)
        clock.now += 6.0
        tell(3, 12)
    assert written.getvalue().splitlines() == [
        "corrupting the test images",
        "corrupting the test images: 3/12 conditions  0.5 conditions/s  18 s left",
    ]


def test_a_search_counts_its_runs() -> None:
    """Catches runs that are not told, and a total that is less than what is done."""
    told = []
    score = counted(
        lambda points, draws: np.zeros((len(points), len(draws))),
        Budget(num_trials=2, num_runs=2, num_finalists=1, num_final_runs=1),
        lambda done, total: told.append((done, total)),
    )
    for _ in range(3):
        score([{}, {}], [(None, jax.random.key(0))])
    assert told == [(0, 5), (2, 5), (4, 5), (6, 6)]


def test_curves_are_written_for_each_meta_training(tmp_path: Path) -> None:
    """Catches the curves of a control laid over those of the run, and a folder made too early."""
    pytest.importorskip("tensorboardX")
    with on_tensorboard(SILENT, tmp_path) as progress:
        assert not any(tmp_path.iterdir())
        for step in (1, 2, 1, 2):
            progress.outer_step(line(step, None if step == 1 else 0.25), 2)
    folders = sorted((tmp_path / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == ["meta-training-1", "meta-training-2"]
    for folder in folders:
        (file,) = folder.iterdir()
        content = file.read_bytes()
        assert content.count(b"meta_loss") == 1
        assert content.count(b"gradient_norm") == 2
        assert struct.pack("<f", 0.25) in content


def test_the_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with (
        pytest.raises(ValueError, match=r"needs tensorboardX.*'noiseproof\[tensorboard\]'"),
        on_tensorboard(SILENT, tmp_path),
    ):
        pass

"""Runs that are ended from outside, at random moments, and resumed."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from noiseproof.results import read_metrics

pytestmark = pytest.mark.slow

SETTINGS = {
    "meta.num_outer_steps": 60,
    "meta.checkpoint_every": 3,
    "meta.select_every": 10,
    "evaluation.num_seeds": 2,
}


@pytest.fixture(scope="module")
def words(tiny_settings: list[str]) -> list[str]:
    changed = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    program = [sys.executable, "-m", "noiseproof", "run", "gaussian-digits-mlp"]
    return [*program, *tiny_settings, *changed]


@pytest.fixture(scope="module")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing ended."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run([*words, "--out", str(folder)], check=True, capture_output=True)
    return folder


def num_lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def end_at(words: list[str], folder: Path, line: int, delay: float, number: int) -> int:
    """Starts or resumes the run, sends a signal some time after a line of metrics; its code."""
    process = subprocess.Popen(
        [*words, "--out", str(folder), "--resume"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while num_lines(folder) < line and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(number)
    return process.wait(timeout=120)


def is_writing(folder: Path, since: float) -> bool:
    """Whether a checkpoint is being written that was begun after a time."""
    with contextlib.suppress(FileNotFoundError):
        unfinished = (folder / "checkpoints").glob("step_*.unfinished")
        return any(path.stat().st_mtime > since for path in unfinished)
    return False


def kill_at(words: list[str], folder: Path, line: int, delay: float, *, writing: bool) -> bool:
    """Kills the run some time after a line of metrics; whether it was writing a checkpoint then.

    With `writing` it is killed while it writes the first checkpoint after that line.
    """
    began = time.time()
    process = subprocess.Popen(
        [*words, "--out", str(folder), "--resume"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while num_lines(folder) < line and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    while writing and not is_writing(folder, began) and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(delay)
    process.kill()
    assert process.wait(timeout=120) == -signal.SIGKILL
    return is_writing(folder, began)


def finish(words: list[str], folder: Path) -> None:
    subprocess.run([*words, "--out", str(folder), "--resume"], check=True, capture_output=True)


def test_a_run_killed_ten_times_ends_as_one_that_was_not(
    words: list[str], whole: Path, tmp_path: Path
) -> None:
    """Every other time while it writes a checkpoint, at random moments of that, too."""
    folder = tmp_path / "run"
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    num_cut_off = 0
    for number, line in enumerate(sorted(chance.sample(range(4, 55), 10))):
        writing = number % 2 == 1
        delay = chance.uniform(0, 0.02 if writing else 0.05)
        num_cut_off += kill_at(words, folder, line, delay, writing=writing)
    assert num_cut_off > 0, seed
    finish(words, folder)
    for name in ("theta.safetensors", "results.npz"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), (seed, name)
    steps = [line.outer_step for line in read_metrics(folder / "metrics.jsonl")]
    assert steps == list(range(1, 61)), seed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_after_a_checkpoint(
    number: int, code: int, words: list[str], whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    assert end_at(words, folder, 20, 0.0, number) == code
    reached = num_lines(folder)
    assert 20 <= reached < 60
    assert (folder / "checkpoints" / f"step_{reached:08d}").is_dir()
    finish(words, folder)
    assert (folder / "theta.safetensors").read_bytes() == (whole / "theta.safetensors").read_bytes()


def test_a_damaged_checkpoint_is_named_and_passed_over(
    words: list[str], whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    end_at(words, folder, 20, 0.0, signal.SIGKILL)
    newest = max((folder / "checkpoints").glob("step_????????"))
    victim = max((path for path in newest.rglob("*") if path.is_file()), key=os.path.getsize)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    copy = shutil.copytree(folder, tmp_path / "copy")
    done = subprocess.run(
        [*words, "--out", str(copy), "--resume"], check=True, capture_output=True, text=True
    )
    assert newest.name in done.stderr
    assert (copy / "theta.safetensors").read_bytes() == (whole / "theta.safetensors").read_bytes()


def test_a_signal_after_meta_training_ends_at_once(words: list[str], tmp_path: Path) -> None:
    """Catches searches that go on until a second signal."""
    folder, long = tmp_path / "run", ("meta.num_outer_steps=10", "tuning.num_trials=4000")
    process = subprocess.Popen(
        [*words, *(word for one in long for word in ("--set", one)), "--out", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (folder / "theta.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(timeout=10) == -signal.SIGTERM
    finally:
        process.kill()

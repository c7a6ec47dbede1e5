"""A run in several processes on this machine, from the command line."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from noiseproof import cli
from noiseproof.results import read_metrics, read_record

pytestmark = pytest.mark.slow

RUN = [sys.executable, "-m", "noiseproof", "run", "gaussian-digits-mlp"]


def start_two(folder: Path, words: list[str], **changed: str) -> list[subprocess.Popen]:
    """Both processes of a run; the second is told by its environment who it is."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{listener.getsockname()[1]}"
    flags = ["--coordinator", place, "--num-processes", "2", "--process-id", "0"]
    told = {
        "JAX_COORDINATOR_ADDRESS": place,
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": "1",
    }
    programs = [(flags, {}), (["--distributed"], told)]
    return [
        subprocess.Popen(
            [*RUN, "--out", str(folder), *flags, *words],
            env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment | changed,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for flags, environment in programs
    ]


def ends(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    found = [process.communicate(timeout=500) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, found, strict=True)]


def test_two_processes_make_the_run_of_one(
    tiny_run: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    """One writes and prints; its checkpoints are good for a run of one process, too.

    Losses that are good to 1e-6 are divided by twice a std of 0.02, so that gradients are good to
    3e-5 or so; small ones are scaled up by Adam, whose steps are 0.01 long.
    """
    folder = tmp_path / "run"
    first, second = ends(start_two(folder, tiny_settings))
    assert first[0] == 0, first[2]
    assert second[0] == 0, second[2]
    assert "The page: " in first[1]
    assert "outer step" not in second[1]
    ours, alone = (load_file(place / "theta.safetensors") for place in (folder, tiny_run))
    for name, array in alone.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-4, atol=1e-4, err_msg=name)
    assert [line.outer_step for line in read_metrics(folder / "metrics.jsonl")] == [1, 2, 3, 4]
    shapes = {read_record(place).scores.right.shape for place in (folder, tiny_run)}
    assert len(shapes) == 1
    (folder / "results.npz").unlink()
    shutil.rmtree(folder / "checkpoints" / "step_00000004")
    words = ["run", "gaussian-digits-mlp", "--out", str(folder), "--resume", *tiny_settings]
    assert cli.exit_code(words) == 0
    resumed = load_file(folder / "theta.safetensors")
    for name, array in alone.items():
        np.testing.assert_allclose(resumed[name], array, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_signal_to_one_ends_both_after_a_checkpoint(
    tiny_settings: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = [*tiny_settings, "--set", "meta.num_outer_steps=100000"]
    processes = start_two(folder, words)
    deadline = time.monotonic() + 300
    while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGTERM)
    (first, _, _), (second, _, _) = ends(processes)
    assert (first, second) == (130, 143)
    last = read_metrics(folder / "metrics.jsonl")[-1].outer_step
    assert (folder / "checkpoints" / f"step_{last:08d}" / "manifest.json").is_file()


def test_a_folder_in_use_ends_both(tiny_settings: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    first, second = ends(start_two(tmp_path, tiny_settings))
    assert (first[0], second[0]) == (2, 2)
    assert "is in use" in first[2]
    assert "The first process could not begin" in second[2]


def test_pairs_that_processes_do_not_divide_are_refused(
    tiny_settings: list[str], tmp_path: Path
) -> None:
    words = [*tiny_settings, "--set", "estimator.num_pairs=3"]
    for code, _, complaint in ends(start_two(tmp_path / "run", words)):
        assert code == 2
        assert "must be a multiple of the 2 processes, got 3; the nearest is 2 and 4" in complaint
    assert not (tmp_path / "run").exists()

"""Meta-training on several devices and in several processes, forced ones of one machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from noiseproof.metatrain import ESTIMATORS
from noiseproof.metatrain.processes import connect
from noiseproof.metatrain.sharding import (
    Placement,
    exchanged_bytes,
    num_devices_each,
    over_pairs,
    pairs_mesh,
)

HERE = Path(__file__).parent
TOLERANCE = 1e-5
"""Ten outer steps with sums in another order: of numbers of size 1, good to 6e-8 each."""


SUMMED = 2 * 12 + 16 * 4 + 12
"""Bytes of an outer step: the gradient and its square, of three numbers each; a loss and its weight
of both runs of a pair for each of four steps; and three counts."""


def start(
    out: Path, *words: object, num_devices: int, program: str = "spread_run.py"
) -> subprocess.Popen:
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}"}
    environment = os.environ | flags | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(HERE / program), str(out), *map(str, words)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def assert_same_on(numbers: tuple[int, ...], names: list[str], found: dict) -> None:
    for name in names:
        for what in ("theta", "gradient", "said", "score"):
            alone = found[f"{name}/1/{what}"]
            for number in numbers:
                np.testing.assert_allclose(
                    found[f"{name}/{number}/{what}"],
                    alone,
                    rtol=TOLERANCE,
                    atol=TOLERANCE,
                    err_msg=f"{name} on {number}: {what}",
                )
        assert np.isfinite(found[f"{name}/1/theta"]).all()


@pytest.fixture(scope="module")
def on_one_machine(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Every estimator with 8 pairs on one, two and eight devices, of one process."""
    file = tmp_path_factory.mktemp("spread") / "a.npz"
    finish(start(file, ",".join(ESTIMATORS), "1,2,8", 8, num_devices=8))
    with np.load(file) as found:
        return dict(found)


@pytest.mark.slow
def test_every_estimator_does_the_same_on_one_two_and_eight_devices(on_one_machine: dict) -> None:
    """Catches draws that depend on the device, and gradients of all where a pair's is meant."""
    assert_same_on((2, 8), list(ESTIMATORS), on_one_machine)
    exchanged = [int(on_one_machine[f"pes/{number}/exchanged"][0]) for number in (1, 8)]
    assert exchanged == [0, SUMMED]


@pytest.mark.slow
def test_two_processes_do_what_one_does(on_one_machine: dict, tmp_path: Path) -> None:
    """And exchange a few copies of theta, however many pairs there are."""
    names, port = ["pes", "es", "mixed"], free_port()
    words = [",".join(names), "4", 8, port]
    finish(
        *(start(tmp_path / "two.npz", *words, index, num_devices=2) for index in range(2)),
        start(tmp_path / "more.npz", ",".join(names), "4", 16, num_devices=4),
    )
    two, more = (dict(np.load(tmp_path / f"{part}.npz")) for part in ("two", "more"))
    assert_same_on((4,), names, on_one_machine | two)
    for name in names:
        exchanged = int(two[f"{name}/4/exchanged"][0])
        assert exchanged == int(more[f"{name}/4/exchanged"][0])
        # Theta has three numbers, and losses are summed besides: 2 × 4 and as many weights.
        assert 2 * 12 < exchanged < 20 * 12


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices(tmp_path: Path) -> None:
    """From eight to two to one: it ends as one that had one device all along."""
    file = tmp_path / "a.npz"
    finish(start(tmp_path / "runs", file, num_devices=8, program="resumed_run.py"))
    steps = sorted(path.name for path in (tmp_path / "runs" / "parts" / "checkpoints").iterdir())
    assert steps == ["step_00000007", "step_00000010"]
    with np.load(file) as found:
        np.testing.assert_allclose(found["parts"], found["whole"], rtol=TOLERANCE, atol=TOLERANCE)
        assert np.abs(found["whole"] + 3.0).max() > 0.1


@pytest.mark.parametrize(
    ("num_pairs", "num_processes", "most", "expected"),
    [(8, 1, 1, 1), (8, 1, 8, 8), (12, 1, 8, 6), (7, 1, 4, 1), (12, 2, 4, 3), (6, 6, 8, 1)],
)
def test_devices_are_those_that_divide_the_pairs(
    num_pairs: int, num_processes: int, most: int, expected: int
) -> None:
    assert num_devices_each(num_pairs, num_processes, most) == expected


def test_pairs_that_processes_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of the 4 processes, got 6; .* is 4 and 8"):
        num_devices_each(6, 4, 1)
    with pytest.raises(ValueError, match=r"multiple of the 4 processes, got 2; .* is 4"):
        num_devices_each(2, 4, 1)


def test_one_device_needs_no_mesh() -> None:
    assert pairs_mesh(8) is None


def test_pairs_that_the_mesh_does_not_divide_are_refused() -> None:
    mesh = SimpleNamespace(size=8)
    with pytest.raises(ValueError, match="multiple of the mesh's 8 devices, got 12"):
        over_pairs.__wrapped__(lambda shared, own: own, 12, Placement(mesh))


def test_exchanges_that_are_no_sums_are_named() -> None:
    """Catches a sum that the compiler makes of all pairs' gradients, brought together first."""
    text = "  %a = f32[8,3]{1,0} all-gather(%b), channel_id=1"
    with pytest.raises(ValueError, match=r"but sums, got all-gather of f32\[8,3\]"):
        exchanged_bytes.__wrapped__(SimpleNamespace(as_text=lambda: text))
    text = "  %c = (f32[2,3]{1,0}, s32[]) all-reduce(%d, %e), to_apply=%f"
    assert exchanged_bytes.__wrapped__(SimpleNamespace(as_text=lambda: text)) == 28


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("host:1", 2, 2), r"process_id must lie in \[0, 1\], got 2"),
        (("host", 2, 0), "coordinator must have the form HOST:PORT, got .host"),
        ((None, None, None), r"could not be joined \(coordinator None, None processes"),
    ],
)
def test_bad_coordinates_are_named(words: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        connect(*words)

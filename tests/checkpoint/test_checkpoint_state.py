import contextlib
import errno
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.checkpoint import load_state, save_state
from noiseproof.checkpoint import state as state_module
from noiseproof.checkpoint.state import verify


class Run(NamedTuple):
    theta: dict
    moments: tuple
    key: jax.Array
    particle_keys: jax.Array
    step: int
    best: float
    done: bool


def make_run(seed: int = 0) -> Run:
    """A state with every kind of leaf, and values that a lossy way would change."""
    generator = np.random.default_rng(seed)
    weights = generator.integers(0, 2**32, (7, 5), dtype=np.uint32).view(np.float32)
    theta = {"a/b": jnp.asarray(weights), "bias": jnp.asarray([0.0, -0.0, np.nan, np.inf, 1e-42])}
    moments = (
        jnp.asarray(weights[0], jnp.bfloat16),
        [jnp.asarray([3], jnp.int32), None],
        jnp.zeros((0, 3)),
        np.float64(1 / 3),
        generator.integers(0, 256, (2, 2), dtype=np.uint8),
        jnp.asarray(True),
    )
    key = jax.random.key(seed)
    return Run(theta, moments, key, jax.random.split(key, 3), 2**40 + seed, 1 / 3, True)


def bits(leaf) -> tuple:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return type(leaf), array.dtype, array.shape, array.tobytes()


def assert_same(found, expected) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert bits(ours) == bits(theirs)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with the checkpoints of steps 50 and 100; tests copy it."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    save_state(folder, 50, make_run(50))
    save_state(folder, 100, make_run(100))
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_comes_back_bit_for_bit(saved):
    step, found = load_state(saved, make_run(1))
    assert step == 100
    assert_same(found, make_run(100))


def test_keys_go_on_as_they_would_have(saved):
    _, found = load_state(saved, make_run(1))
    expected = jax.random.uniform(make_run(100).particle_keys[1])
    assert jax.random.uniform(found.particle_keys[1]) == expected


SPREAD = """
import sys, jax, numpy as np
from noiseproof.checkpoint import load_state, save_state
mesh = jax.make_mesh((2,), ("particles",))
sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("particles"))
state = {"weights": jax.device_put(np.arange(8.0, dtype=np.float32), sharding)}
save_state(sys.argv[1], 1, state)
_, found = load_state(sys.argv[1], state)
assert found["weights"].sharding == sharding
np.testing.assert_array_equal(found["weights"], np.arange(8.0))
"""


@pytest.mark.slow
def test_an_array_spread_over_devices_comes_back_spread(tmp_path):
    """In a process of its own, since the number of devices is fixed at the first use."""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", SPREAD, str(tmp_path)]
    subprocess.run(command, env=environment | {"JAX_PLATFORMS": "cpu"}, check=True, timeout=120)


def test_nothing_saved_is_none(tmp_path):
    assert load_state(tmp_path / "nowhere", {}) is None
    assert load_state(tmp_path, {}) is None


def test_only_the_newest_stay(folder):
    save_state(folder, 150, make_run(), keep=2)
    assert steps_in(folder) == ["step_00000100", "step_00000150"]
    save_state(folder, 200, make_run(), keep=1)
    assert steps_in(folder) == ["step_00000200"]


def test_the_same_step_is_replaced(folder):
    save_state(folder, 100, make_run(3))
    assert steps_in(folder) == ["step_00000050", "step_00000100"]
    assert_same(load_state(folder, make_run())[1], make_run(3))


def test_a_future_that_was_given_up_is_deleted(folder):
    """Catches a resumed run that is later resumed from the run that it left."""
    save_state(folder, 75, make_run(75))
    step, found = load_state(folder, make_run())
    assert step == 75
    assert_same(found, make_run(75))


def damage(file: Path, generator: np.random.Generator) -> None:
    """Flip a bit of a random byte of a file, or cut its end off."""
    content = bytearray(file.read_bytes())
    place = int(generator.integers(len(content)))
    if generator.random() < 0.5:
        content[place] ^= 1 << int(generator.integers(8))
        file.write_bytes(content)
    else:
        file.write_bytes(content[:place])


def test_two_hundred_damages_are_all_noticed(folder):
    generator = np.random.default_rng(0)
    checkpoint = folder / "step_00000100"
    files = sorted(path for path in checkpoint.rglob("*") if path.stat().st_size and path.is_file())
    for trial in range(200):
        file = files[trial % len(files)]
        whole = file.read_bytes()
        damage(file, generator)
        with pytest.raises(ValueError, match="is damaged"):
            verify(checkpoint)
        file.write_bytes(whole)
    assert verify(checkpoint)["step"] == 100


@pytest.mark.parametrize("name", ["manifest.json", "arrays/_METADATA"])
def test_a_lost_file_is_named_and_the_last_good_one_loaded(folder, name):
    (folder / "step_00000100" / name).unlink()
    expected = f"step_00000100 is passed over: .*{name} is missing"
    with pytest.warns(UserWarning, match=expected):
        step, found = load_state(folder, make_run())
    assert step == 50
    assert_same(found, make_run(50))


def test_nothing_good_is_none(folder):
    shutil.rmtree(folder / "step_00000100")
    (folder / "step_00000050" / "manifest.json").write_text("{}")
    with pytest.warns(UserWarning, match="step_00000050 is passed over: .* is damaged"):
        assert load_state(folder, make_run()) is None


def test_the_whole_state_must_fit(saved):
    run = make_run()
    with pytest.raises(
        ValueError, match=r"got float32\[7, 5\] instead of float32\[5, 7\] at .theta"
    ):
        load_state(saved, run._replace(theta={**run.theta, "a/b": jnp.zeros((5, 7))}))
    with pytest.raises(ValueError, match=r"got nothing instead of float32\[2\] at .*'extra'"):
        load_state(saved, run._replace(theta={**run.theta, "extra": jnp.zeros(2)}))
    with pytest.raises(ValueError, match=r"got float32\[5\] instead of nothing at .*'bias'"):
        load_state(saved, run._replace(theta={"a/b": run.theta["a/b"]}))
    with pytest.raises(ValueError, match=r"got key<fry>\[\] instead of uint32\[2\] at .key"):
        load_state(saved, run._replace(key=jax.random.key_data(run.key)))


def test_rejects_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="step must not be negative, got -1"):
        save_state(tmp_path, -1, {})
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        save_state(tmp_path, 1, {}, keep=0)
    with pytest.raises(ValueError, match=r"arrays, and numbers .* got str at \['name'\]"):
        save_state(tmp_path, 1, {"name": "x"})
    with pytest.raises(ValueError, match=r"of at most 64 bits, got int at \['large'\]"):
        save_state(tmp_path, 1, {"large": 2**80})
    assert not list(tmp_path.iterdir())


STAGES = {
    "arrays": (state_module, "_write_arrays"),
    "manifest": (state_module, "seal"),
    "flush": (state_module, "flush"),
    "rename": (Path, "rename"),
}


@pytest.mark.parametrize("step", [100, 150], ids=["same step", "next step"])
@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_full_disk_leaves_the_last_good_one(folder, monkeypatch, stage, step):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(*STAGES[stage], fail)
        with pytest.raises(OSError, match=f"disk is full: step_00000{step} was not saved") as info:
            save_state(folder, step, make_run(1))
    assert info.value.errno == errno.ENOSPC
    assert steps_in(folder) == ["step_00000050", "step_00000100"]
    assert_same(load_state(folder, make_run())[1], make_run(100))


def test_a_full_disk_in_the_words_of_orbax(tmp_path, monkeypatch):
    """Orbax tells a full disk as a ValueError whose text ends in the system's words."""

    def fail(*args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device")

    monkeypatch.setattr(state_module, "_write_arrays", fail)
    with pytest.raises(OSError, match="The disk is full"):
        save_state(tmp_path, 1, make_run())


def test_other_errors_are_themselves(folder, monkeypatch):
    def fail(*args, **kwargs):
        raise PermissionError("not yours")

    monkeypatch.setattr(state_module, "seal", fail)
    with pytest.raises(PermissionError, match="not yours"):
        save_state(folder, 150, make_run())
    assert steps_in(folder) == ["step_00000050", "step_00000100"]


class Killed(BaseException):
    """What no `except Exception` sees, as no process sees its own SIGKILL."""


@pytest.mark.parametrize("calls_before", range(8))
@pytest.mark.parametrize("step", [100, 150], ids=["same step", "next step"])
def test_killed_between_any_two_file_operations(folder, monkeypatch, step, calls_before):
    """A whole checkpoint of the old or the new state is always there, and the rest is cleared."""
    num_calls = 0

    def killing(function):
        def call(*args, **kwargs):
            nonlocal num_calls
            num_calls += 1
            if num_calls > calls_before:
                raise Killed
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(state_module, "_write_arrays", killing(state_module._write_arrays))
        patched.setattr(state_module, "_write_manifest", killing(state_module._write_manifest))
        patched.setattr(Path, "rename", killing(Path.rename))
        patched.setattr(shutil, "rmtree", killing(shutil.rmtree))
        with contextlib.suppress(Killed):
            save_state(folder, step, make_run(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found_step, found = load_state(folder, make_run())
    assert found_step in (100, step)
    assert bits(found.step) in (bits(make_run(100).step), bits(make_run(1).step))
    save_state(folder, 200, make_run(2))
    assert len(steps_in(folder)) == 2
    assert steps_in(folder)[-1] == "step_00000200"
    assert all(verify(path) for path in folder.iterdir())

"""What meta-training needs of a device's memory, and that it is refused where that is not there."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from noiseproof.metatrain import memory, nres, outer_loop, target_of
from noiseproof.metatrain.memory import (
    check_fits,
    check_runs_fit,
    free_bytes,
    num_bytes,
    on_devices,
)
from noiseproof.metatrain.outer_loop import Plan, meta_train
from noiseproof.metatrain.sharding import PAIRS, Placement
from noiseproof.types import LearnedOptimizer


def test_bytes_of_arrays_and_keys() -> None:
    tree = (jnp.zeros((3, 2), jnp.uint8), jax.random.split(jax.random.key(0), 5), jnp.zeros(()))
    assert num_bytes(tree) == 6 + 5 * 8 + 4
    assert num_bytes(jax.eval_shape(lambda: tree)) == num_bytes(tree)


def test_runs_carried_by_hand(affine) -> None:
    """Catches a pair counted once, and pairs of all devices where those of one are meant.

    A pair has two runs of two weights and a step, eps and xi of two numbers each, a key, and four
    counts; all of four bytes, but for the key's eight.
    """
    estimator = nres(affine.objective, truncation=3, num_pairs=8, std=0.1)
    a_pair = 2 * (2 + 1) * 4 + 2 * 2 * 4 + 8 + 4 * 4
    assert check_runs_fit([affine.objective], estimator, affine.data) == 8 * a_pair
    mesh = mock.Mock(size=4)
    spread = affine.objective._replace(placement=Placement(mesh))
    assert check_runs_fit([spread], estimator, affine.data) == 2 * a_pair


def test_runs_that_keep_much_go_in_turn(affine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches averages that are not counted, and runs on a GPU that are not stacked.

    A run keeps two weights, Adam two averages of each and a count, all of four bytes.
    """
    adam = LearnedOptimizer(lambda _key: jnp.zeros(2), lambda *_: optax.adam(0.1))
    objective, kept = affine.objective._replace(learned=adam), 28
    mesh = Mesh(np.array(jax.devices()[:1]), (PAIRS,))
    cases = ((kept - 1, "cpu", True), (kept, "cpu", False), (0, "gpu", False))
    for many, platform, in_turn in cases:
        monkeypatch.setattr(memory, "MANY_BYTES", many)
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        assert on_devices(objective, mesh).placement == Placement(mesh, in_turn)


def test_what_does_not_fit_is_named() -> None:
    check_fits(1000, 1000)
    with pytest.raises(ValueError, match=r"needs 2 GB a device, of which 1\.5 GB are free"):
        check_fits(2_000_000_000, 1_500_000_000)


def test_some_memory_is_free() -> None:
    """More than a process of this size has taken, and less than any machine has."""
    assert 2**20 < free_bytes() < 2**50


def test_a_step_that_does_not_fit_is_refused_before_the_first(affine) -> None:
    """Catches a program that is not asked: here the runs fit, and what a step needs does not."""
    estimator = nres(affine.objective, truncation=3, num_pairs=8, std=0.1)
    carried, lines = check_runs_fit([affine.objective], estimator, affine.data), []
    plan = Plan(num_outer_steps=1, learning_rate=0.1)
    with (
        mock.patch.object(memory, "free_bytes", return_value=carried),
        mock.patch.object(outer_loop, "free_bytes", return_value=carried),
        pytest.raises(ValueError, match="it takes fewer pairs, or smaller runs"),
    ):
        meta_train(
            target_of(affine.objective),
            estimator,
            plan,
            affine.data,
            affine.data,
            jax.random.key(0),
            on_metrics=lines.append,
        )
    assert lines == []

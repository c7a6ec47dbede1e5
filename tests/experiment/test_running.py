"""Which theta of meta-training goes where."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.checkpoint import load_theta
from noiseproof.evaluate.protocol import Contestant
from noiseproof.experiment import contestants, running
from noiseproof.experiment.build import build_experiment
from noiseproof.experiment.contestants import learned_contestants
from noiseproof.experiment.progress import SILENT
from noiseproof.experiment.reading import load_preset
from noiseproof.metatrain.outer_loop import OuterState


def test_the_best_theta_is_the_learned_one_and_the_first_stands_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Catches the last theta kept instead of the best, and the initial one judged for it.

    Steps differ by the rate alone: theta moves its logarithm by ten times as much.
    """
    experiment = build_experiment(load_preset("gaussian-digits-mlp"))
    size = jax.eval_shape(experiment.meta.target.init, jax.random.key(0)).size
    last, initial, best = (jnp.full(size, value) for value in (0.2, 0.0, 0.1))
    zero = jnp.zeros(())
    state = OuterState(last, (), (), jnp.int32(9), initial, best, zero, zero)
    monkeypatch.setattr(running, "meta_train", lambda *_, **__: state)
    learned = running.learn(
        experiment, experiment.meta, "noise", tmp_path, SILENT, seed=0, resume=False
    )
    assert {float(np.max(leaf)) for leaf in jax.tree.leaves(learned.theta)} == {np.float32(0.1)}

    shapes = jax.eval_shape(experiment.problem.model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, "f"), shapes)

    def first_step(contestant: Contestant) -> float:
        @jax.jit
        def updates_of(params):
            _, recipe_of, theta = contestant.trained
            optimizer = recipe_of(theta, 500, experiment.problem.objective.layout).optimizer
            grads = jax.tree.map(jnp.ones_like, params)
            return optimizer.update(grads, optimizer.init(params), params)[0]

        # Of a bias, which no decay pulls while it is zero.
        return float(np.abs(updates_of(params)[0]["bias"]).max())

    monkeypatch.setattr(contestants, "outer_loss", lambda *_: 0.5)
    pair = learned_contestants(experiment, learned, 0)
    assert [one.outer_loss for one in pair] == [0.5, None]
    ours, before = map(first_step, pair)
    assert ours / before == pytest.approx(np.exp(10 * 0.1), rel=1e-4)


def test_theta_is_on_the_disk_before_anything_else_can_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Catches hours of meta-training that are lost to a fault of the comparison behind them."""
    experiment = build_experiment(load_preset("gaussian-digits-mlp"))
    size = jax.eval_shape(experiment.meta.target.init, jax.random.key(0)).size
    vector, zero = jnp.full(size, 0.1), jnp.zeros(())
    state = OuterState(vector, (), (), jnp.int32(9), vector, vector, zero, zero)
    monkeypatch.setattr(running, "meta_train", lambda *_, **__: state)

    def fail(*_args: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(running, "run_comparison", fail)
    with pytest.raises(MemoryError):
        running.run_experiment(experiment, tmp_path / "run", name="preset", seed=0)
    assert load_theta(tmp_path / "run")[1]["rule"] == experiment.record["rule"]["kind"]

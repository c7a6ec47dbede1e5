"""One loss of a run, for theta, for the choice of theta on `select`, and for rivals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noiseproof.evaluate.scoring import TunedOn, scorer
from noiseproof.inner_loop import Window
from noiseproof.metatrain import Objective, full_backprop, target_of
from noiseproof.metatrain.unrolling import start_run
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import LogUniform
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import LearnedOptimizer, Recipe

RATE = 0.15


def test_the_three_give_the_same_loss_of_the_same_run() -> None:
    """Of losses after 8 and 12 of 12 steps, the first of which is clipped: 2 and another one.

    Catches a share, an interval or a clip that one of the three has of its own.
    """
    learned = LearnedOptimizer(lambda _key: RATE, lambda theta, _steps, _layout: optax.sgd(theta))
    knobs = {"rate": LogUniform(0.01, 1.0)}
    rival = Rival(knobs, lambda values, _steps, _layout: Recipe(optax.sgd(values["rate"])))
    objective = Objective(
        quadratic(num_dimensions=3, noise_std=1.0),
        learned,
        None,
        num_steps=12,
        window=Window(loss_interval=4, last_share=0.5, max_loss=2.0),
    )
    data = QuadraticData(jnp.array([1.0, 2.0, -1.0]), jnp.array([0.1, 0.2, -0.4]))
    key, theta = jax.random.key(0), jnp.array(RATE)
    run_keys = jax.random.split(key, 1)

    @jax.jit
    def for_theta(theta: jax.Array) -> jax.Array:
        estimator = full_backprop(objective, num_runs=1)
        run = start_run(objective, theta, run_keys[0])
        state = estimator.init(theta, data, key)
        state = state._replace(run_key=run_keys, carry=jax.tree.map(lambda leaf: leaf[None], run))
        return estimator.estimate(theta, state, data, key)[0].meta_loss

    chosen = jax.jit(lambda theta: target_of(objective).score(theta, data, 1, key))(theta)
    problem = TunedOn(objective.task, data, data, None, objective.num_steps, objective.window)
    draws = [(data, run_keys[0])]
    score = scorer(problem, rival, 1, [draws])
    losses = [for_theta(theta), chosen, score([{"rate": RATE}], draws)[0, 0]]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)
    assert 1.0 < float(losses[0]) < 2.0

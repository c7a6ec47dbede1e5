"""What an outer step draws, follows and is scored on; the estimator says what it was given."""

import jax
import jax.numpy as jnp
import optax
import pytest

from noiseproof.metatrain import Objective, Window, target_of
from noiseproof.metatrain.outer_loop import Plan, meta_train, outer_optimizer
from noiseproof.results import MetricsLine
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Data, GradientEstimator, LearnedOptimizer, MetaEstimate, Theta

PLAN = Plan(num_outer_steps=3, learning_rate=0.1, warmup_share=0.0, select_every=3)
FAR = 100.0


def told(theta: Theta, state: tuple, data: Data, key: jax.Array) -> tuple[MetaEstimate, tuple]:
    """The pool's draw in the place of the loss, the pairs' in the place of the ratio."""
    estimate = MetaEstimate(
        gradient=jax.tree.map(jnp.zeros_like, theta),
        meta_loss=data.target[0],
        signal_to_noise=jax.random.uniform(key),
        diverged_share=jnp.zeros(()),
    )
    return estimate, state


@pytest.fixture(scope="module")
def lines() -> list[MetricsLine]:
    """Of a short meta-training whose `select` split lies far from its outer one."""
    task = quadratic(num_dimensions=2)._replace(
        refresh=lambda data, key: data._replace(target=jax.random.uniform(key, (2,)))
    )
    rule = LearnedOptimizer(
        lambda _key: {"rate": jnp.array(0.01)}, lambda theta, *_: optax.sgd(theta["rate"])
    )
    found = []
    meta_train(
        target_of(Objective(task, rule, None, num_steps=2, window=Window(max_loss=1e9))),
        GradientEstimator(lambda *_: (), told, 1),
        PLAN,
        QuadraticData(jnp.zeros(2), jnp.zeros(2)),
        QuadraticData(jnp.zeros(2), jnp.full(2, FAR)),
        jax.random.key(0),
        on_metrics=found.append,
    )
    return found


def test_every_outer_step_draws_a_pool_and_pairs_of_its_own(lines: list[MetricsLine]) -> None:
    """Catches a key that is not folded with the step."""
    assert len({line.meta_loss for line in lines}) == 3
    assert len({line.snr for line in lines}) == 3


def test_theta_is_scored_on_select(lines: list[MetricsLine]) -> None:
    """Weights start within a few units of zero and hardly move: 2 · FAR² / 2 nats from `select`."""
    assert lines[-1].select_loss == pytest.approx(FAR**2, rel=0.2)


def test_an_exploded_meta_gradient_does_not_rule_the_steps_that_follow() -> None:
    """Clipped, both gradients count alike, and of their mean the later one has the greater part."""
    optimizer = outer_optimizer(PLAN)
    theta = jnp.zeros(1)
    _, state = optimizer.update(jnp.full(1, 1e6), optimizer.init(theta))
    update, _ = optimizer.update(jnp.full(1, -1.0), state)
    assert float(update[0]) > 0

"""Batch norm against Flax's, and measured statistics against running averages of training."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from noiseproof.models import convnet, mlp
from noiseproof.models.norms import normalize_alone, normalize_by_batch, statistics

MOMENTUM = 0.9
NUM_SEEDS = 4


@pytest.mark.parametrize("shape", [(16, 5), (4, 3, 2, 5)], ids=str)
def test_batch_norm_is_that_of_flax(shape):
    """Catches an unbiased variance, statistics over the wrong axes, a momentum the wrong way."""
    rng = np.random.default_rng(0)
    features = np.float32(3.0 + 2.0 * rng.normal(size=shape))
    layer = {name: np.float32(rng.random(5)) for name in ("gain", "bias", "mean", "variance")}
    variables = {
        "params": {"scale": layer["gain"], "bias": layer["bias"]},
        "batch_stats": {"mean": layer["mean"], "var": layer["variance"]},
    }

    @jax.jit
    def theirs(variables, features):
        settings = {"momentum": MOMENTUM, "epsilon": 1e-5}
        trained = nn.BatchNorm(False, **settings).apply(
            variables, features, mutable=["batch_stats"]
        )
        return nn.BatchNorm(True, **settings).apply(variables, features), *trained

    @jax.jit
    def ours(layer, features):
        measured = layer | statistics(features)
        running = optax.incremental_update(measured, layer, 1.0 - MOMENTUM)
        alone = normalize_alone("batch", layer, features)
        return alone, normalize_by_batch(layer, features), running

    alone, in_training, state = theirs(variables, features)
    found_alone, found_in_training, running = ours(layer, features)
    np.testing.assert_allclose(found_alone, alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found_in_training, in_training, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(running["mean"], state["batch_stats"]["mean"], rtol=1e-5)
    np.testing.assert_allclose(running["variance"], state["batch_stats"]["var"], rtol=1e-5)
    np.testing.assert_allclose(running["gain"], layer["gain"], rtol=1e-6)


@pytest.mark.parametrize("build", [mlp, convnet])
def test_measured_statistics_judge_as_running_averages_do(build):
    """Catches statistics that are measured and are not those of training: of two runs of the same
    weights each gets n images right, with the probability p; a difference has a standard error of
    at most √(2 p (1 - p) / n), and of much less as most answers are the same.
    """
    digits = load_digits()
    images = jnp.asarray(digits.images / 16, jnp.float32)[..., None]
    labels = jnp.asarray(digits.target)
    sizes = {"hidden_sizes": (16,)} if build is mlp else {"channels": (8, 8)}
    model = build(image_shape=(8, 8, 1), num_classes=10, norm="batch", **sizes)
    adam = optax.adam(1e-2)
    train, test = slice(0, 1297), slice(1297, None)

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (64,), 0, 1297)

        def loss(params):
            logits = model.apply_train(params, images[rows])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

        updates, state = adam.update(jax.grad(loss)(params), state)
        # As the docstring of `norms` has it, which leaves all but statistics as they are.
        averaged = optax.incremental_update(
            model.calibrate(params, images[rows]), params, 1.0 - MOMENTUM
        )
        return (optax.apply_updates(averaged, updates), state), None

    def run(key):
        params = model.init(key)
        (running, _), _ = jax.lax.scan(step, (params, adam.init(params)), jax.random.split(key, 60))
        measured = model.calibrate(running, images[train][:512])
        return jnp.stack([model.apply(one, images[test]).argmax(-1) for one in (running, measured)])

    keys = jax.random.split(jax.random.key(0), NUM_SEEDS)
    right = np.asarray(jax.jit(lambda keys: jax.lax.map(run, keys))(keys) == labels[test])
    running, measured = right.mean(axis=(0, 2))
    error = np.sqrt(2 * running * (1 - running) / (NUM_SEEDS * right.shape[2]))
    assert running > 0.75
    assert abs(running - measured) < 4 * error

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from noiseproof.models import convnet


def test_shapes_follow_the_halving_rounded_up():
    model = convnet(image_shape=(14, 14, 1), num_classes=10)
    params = jax.eval_shape(model.init, jax.random.key(0))
    # 14 -> 7 -> 4 -> 2, so that the readout sees 2 · 2 · 32 values.
    shapes = [layer["weight"].shape for layer in params]
    assert shapes == [(3, 3, 1, 8), (3, 3, 8, 16), (3, 3, 16, 32), (128, 10)]


def test_learns_digits_in_a_short_run():
    """Catches a dead initialization or a wrong gradient: 100 steps of Adam reach about 0.9."""
    digits = load_digits()
    images = jnp.asarray(digits.images / 16, jnp.float32)[..., None]
    labels = jnp.asarray(digits.target)
    model = convnet(image_shape=(8, 8, 1), num_classes=10)
    adam = optax.adam(1e-2)

    def loss(params, rows):
        logits = model.apply(params, images[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

    def step(carry, key):
        params, state = carry
        gradients = jax.grad(loss)(params, jax.random.randint(key, (64,), 0, 1297))
        updates, state = adam.update(gradients, state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def accuracy(key):
        params = model.init(key)
        (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), jax.random.split(key, 100))
        return (model.apply(params, images[1297:]).argmax(-1) == labels[1297:]).mean()

    assert np.asarray(accuracy(jax.random.key(0))) > 0.8


def test_rejects_bad_channels():
    with pytest.raises(ValueError, match="channels must name at least one convolution"):
        convnet(image_shape=(8, 8, 1), num_classes=3, channels=())
    with pytest.raises(ValueError, match=r"channels must be positive, got \(8, -1\)"):
        convnet(image_shape=(8, 8, 1), num_classes=3, channels=(8, -1))
    with pytest.raises(ValueError, match=r"channels must be multiples of 4 for norm 'group'"):
        convnet(image_shape=(8, 8, 1), num_classes=3, channels=(6,), norm="group")

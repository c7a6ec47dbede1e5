"""Standardized images against NumPy's mean and standard deviation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.models import convnet, mlp
from noiseproof.models.standardized import channel_statistics, standardized

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)


def test_statistics_are_those_of_numpy():
    images = IMAGES // np.array([1, 2, 3], np.uint8)
    mean, std = channel_statistics(jnp.asarray(images))
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("builder", [mlp, convnet])
def test_the_classifier_sees_standardized_images(builder):
    model = builder(image_shape=(6, 5, 3), num_classes=4)
    mean, std = jnp.array([0.1, 0.5, 0.9]), jnp.array([0.2, 0.3, 0.4])
    params, images = (
        jax.jit(model.init)(jax.random.key(0)),
        jnp.asarray(IMAGES[:2] / 255.0, jnp.float32),
    )
    ours, seen = standardized(model, mean, std), (images - mean) / std

    @jax.jit
    def both(params, images, seen, key):
        plain = ours.apply(params, images), model.apply(params, seen)
        return plain, (
            ours.apply_dropout(params, images, 0.5, key),
            model.apply_dropout(params, seen, 0.5, key),
        )

    for found, expected in both(params, images, seen, jax.random.key(1)):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_channel_must_vary():
    model = mlp(image_shape=(6, 5, 3), num_classes=4)
    with pytest.raises(ValueError, match="std must be positive in every channel"):
        standardized(model, jnp.zeros(3), jnp.array([0.1, 0.0, 0.2]))

"""What every named corruption promises, on grey and color images, small and oblong."""

import inspect
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, FAMILIES, corrupt

SHAPES = [(8, 8, 1), (12, 20, 3), (32, 32, 3)]
# Drawn without randomness, or with so little that an image may come out the same under two keys.
DETERMINISTIC = {"none"}


@cache
def pictures(shape, num=4):
    """Smooth pictures with an edge, so that blurs, warps and noise all have something to change."""
    height, width, channels = shape
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [0.5 + 0.4 * np.sin(3 * rows + i) * np.cos(5 * columns - i) for i in range(num)]
    waves = np.stack(waves)[..., None] * np.linspace(0.6, 1, channels)
    waves[:, height // 4 : height // 2, width // 3 : width // 2] *= 0.2
    return jnp.asarray(waves, jnp.float32)


def applicable(name, shape):
    if CORRUPTIONS[name].color_only and shape[-1] == 1:
        pytest.skip("meaningless on grey images")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_arguments_are_image_severity_key(name):
    assert list(inspect.signature(CORRUPTIONS[name]).parameters) == ["image", "severity", "key"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_keeps_shape_dtype_and_range_and_changes_the_image(name, shape):
    applicable(name, shape)
    images = pictures(shape)
    corrupted = corrupt(images, name, 5, key=jax.random.key(1))
    assert corrupted.shape == images.shape
    assert corrupted.dtype == jnp.float32
    assert jnp.isfinite(corrupted).all()
    assert corrupted.min() >= 0
    assert corrupted.max() <= 1
    assert jnp.abs(corrupted - images).max() > 1 / 255


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_key_alone_decides(name):
    images = pictures((12, 20, 3))
    first, again, other = (corrupt(images, name, 4, key=jax.random.key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert bool((first == other).all()) == (name in DETERMINISTIC)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_batch_is_a_loop(name):
    images = pictures((12, 20, 3))
    together = corrupt(images, name, 3, key=jax.random.key(1))
    keys = jax.random.split(jax.random.key(1), len(images))
    apart = [corrupt(image, name, 3, key=key) for image, key in zip(images, keys, strict=True)]
    np.testing.assert_allclose(together, jnp.stack(apart), atol=1e-5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_traced_severities_mixed_in_a_batch_are_the_static_ones(name):
    images = pictures((12, 20, 3), num=5)
    key = jax.random.key(1)
    mixed = corrupt(images, name, np.arange(1, 6), key=key)
    for i, one_key in enumerate(jax.random.split(key, 5)):
        static = corrupt(images[i], name, i + 1, key=one_key)
        np.testing.assert_allclose(mixed[i], static, atol=1e-4)


@pytest.mark.parametrize("name", [n for n, row in CORRUPTIONS.items() if row.differentiable])
def test_gradients_are_finite_and_flow(name):
    image, key = pictures((12, 20, 3))[0], jax.random.key(1)
    gradient = jax.jit(jax.grad(lambda image: CORRUPTIONS[name](image, 2, key).sum()))(image)
    assert jnp.isfinite(gradient).all()
    assert (gradient != 0).mean() > 0.5


def test_compiles_once_for_all_severities():
    traces = []

    @jax.jit
    def apply(images, severity, key):
        traces.append(1)
        return corrupt(images, "gaussian_noise", severity, key=key)

    for severity in (1, 3, 5):
        apply(pictures((8, 8, 1)), severity, jax.random.key(severity))
    assert len(traces) == 1


def test_families_are_disjoint_and_named():
    members = [name for family in FAMILIES.values() for name in family]
    assert len(members) == len(set(members))
    assert set(members) <= set(CORRUPTIONS)

"""What every named corruption promises, on grey and color images, small and oblong."""

import inspect
import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, FAMILIES, corrupt
from noiseproof.corruptions.severity import constants_at
from noiseproof.corruptions.suites import GEOMETRIC, OCCLUSIONS

DETERMINISTIC = {
    "gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate",
    "pixelate", "jpeg_compression", "scale", "stripe",
    "mnist/brightness", "mnist/stripe", "mnist/canny_edges",
}  # fmt: skip
# Some of MNIST-C's are the very same rows: once is enough.
NAMES = list({id(row): name for name, row in reversed(CORRUPTIONS.items())}.values())[::-1]
# What depends on the function alone and not on its constants is tested once per function.
FUNCTIONS = list({CORRUPTIONS[name].apply: name for name in reversed(NAMES)}.values())[::-1]
OBLONG, TINY, TINY_GREY = (12, 20, 3), (8, 8, 3), (8, 8, 1)
KEY = jax.random.key(1)
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TARGETS = json.loads((BENCHMARKS / "corruption_targets.json").read_text("utf-8"))["cifar-10"]


@cache
def pictures(shape, num=5):
    """Waves of four sizes with an edge, grey to colorful: all that a corruption could change."""
    height, width, channels = shape
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = np.zeros((num, height, width))
    for wave in waves:
        for frequency in (1, 2, 4, 8):
            angle, phase = generator.uniform(0, [np.pi, 2 * np.pi])
            along = rows * np.sin(angle) + columns * np.cos(angle)
            wave += np.sin(2 * np.pi * frequency * along + phase) / frequency
    waves = 0.5 + 0.45 * waves / np.abs(waves).max(axis=(1, 2), keepdims=True)
    waves[:, height // 4 : height // 2, width // 3 : width // 2] *= 0.2
    tints = 1 - np.linspace(0, 1, width)[:, None] * np.linspace(0.6, 0, channels)
    return jnp.asarray(waves[..., None] * tints, jnp.float32)


# Compiling is most of the time here, and what is compiled runs once or twice.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@cache
def compiled(name, severity):
    def apply(images, keys):
        return jax.vmap(lambda image, key: CORRUPTIONS[name](image, severity, key))(images, keys)

    return jax.jit(apply, compiler_options=QUICK)


@cache
def corrupted(name, severity=3, shape=OBLONG, seed=1):
    keys = jax.random.split(jax.random.key(seed), 5)
    return compiled(name, severity)(pictures(shape), keys)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_arguments_are_image_severity_key(name):
    assert list(inspect.signature(CORRUPTIONS[name]).parameters) == ["image", "severity", "key"]


@pytest.mark.parametrize("name", NAMES)
def test_keeps_shape_dtype_and_range_and_changes_the_image(name):
    tiny_grey = [] if CORRUPTIONS[name].color_only else [(5, TINY_GREY)]
    for severity, shape in [(3, OBLONG), *tiny_grey]:
        images, result = pictures(shape), corrupted(name, severity, shape)
        assert result.shape == images.shape
        assert result.dtype == jnp.float32
        assert jnp.isfinite(result).all()
        assert result.min() >= 0
        assert result.max() <= 1
        assert jnp.abs(result - images).max() > 1 / 255


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_key_alone_decides(name):
    again = compiled(name, 3)(pictures(OBLONG), jax.random.split(KEY, 5))
    np.testing.assert_array_equal(corrupted(name), again)
    same = bool((corrupted(name) == corrupted(name, seed=2)).all())
    assert same == (name in DETERMINISTIC)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_batch_is_a_loop_over_its_images(name):
    alone = jax.jit(lambda image, key: CORRUPTIONS[name](image, 3, key), compiler_options=QUICK)
    result = alone(pictures(OBLONG)[2], jax.random.split(KEY, 5)[2])
    np.testing.assert_allclose(corrupted(name)[2], result, atol=1e-5)


def steps_that_grow(name):
    """From which severities to the next the change grows: in the reference by 2 percent or more."""
    if name in {**GEOMETRIC, **OCCLUSIONS}:
        return np.ones(4, bool)
    errors = np.array([row[0] for row in TARGETS[name]]) if name in TARGETS else np.ones(5)
    return errors[1:] > 1.02 * errors[:-1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_traced_severities_are_the_static_ones_and_grow_where_the_reference_does(name):
    images, keys = pictures(OBLONG), jax.random.split(KEY, 5)
    of_all = jax.vmap(jax.vmap(CORRUPTIONS[name], in_axes=(0, None, 0)), in_axes=(None, 0, None))
    result = jax.jit(of_all, compiler_options=QUICK)(images, jnp.arange(1, 6), keys)
    np.testing.assert_allclose(result[2], corrupted(name), atol=1e-4)
    changes = np.sqrt(np.mean((result - images) ** 2, axis=(1, 2, 3, 4)))
    grows = changes[1:] > changes[:-1]
    assert (grows | ~steps_that_grow(name)).all(), changes


@pytest.mark.parametrize("name", ["fog", "saturate", "glass_blur"])
def test_corrupt_is_the_function_of_that_name(name):
    images = pictures(OBLONG)
    np.testing.assert_allclose(corrupt(images, name, 3, key=KEY), corrupted(name), atol=1e-5)
    mixed = corrupt(images, name, np.array([5, 3, 3, 3, 3]), key=KEY)
    np.testing.assert_allclose(mixed[1:], corrupted(name)[1:], atol=1e-4)
    assert jnp.abs(mixed[0] - corrupted(name)[0]).max() > 0.01
    alone = corrupt(images[4], name, 3, key=jax.random.split(KEY, 5)[4])
    np.testing.assert_allclose(alone, corrupted(name)[4], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_traced_constants_are_the_static_ones(name):
    for severity in (1, 2, 3, 4, 5, 2.25):
        static = constants_at(CORRUPTIONS[name], severity)
        traced = jax.jit(lambda level: constants_at(CORRUPTIONS[name], level))(severity)
        for constant, value in static.items():
            if constant.startswith("max_"):
                assert value <= traced[constant]
            else:
                assert traced[constant] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if CORRUPTIONS[name].differentiable])
def test_gradients_are_finite_and_flow(name):
    image = pictures(OBLONG)[0]
    total = jax.grad(lambda image: CORRUPTIONS[name](image, 2, KEY).sum())
    gradient = jax.jit(total, compiler_options=QUICK)(image)
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


# Their many small programs take 4 to 20 s to compile, one by one.
MANY_PROGRAMS = {
    "snow", "frost", "spatter", "elastic_transform", "dotted_line", "zigzag",
    "mnist/fog", "mnist/glass_blur", "mnist/canny_edges",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in MANY_PROGRAMS else ()) for n in FUNCTIONS],
)
def test_eager_is_jitted(name):
    image = pictures(TINY if CORRUPTIONS[name].color_only else TINY_GREY)[0]
    eager = CORRUPTIONS[name](image, 3, KEY)
    jitted = jax.jit(lambda image: CORRUPTIONS[name](image, 3, KEY), compiler_options=QUICK)(image)
    np.testing.assert_allclose(eager, jitted, atol=1e-5)


def test_families_are_disjoint_and_named():
    members = [name for family in FAMILIES.values() for name in family]
    assert len(members) == len(set(members))
    assert set(members) <= set(CORRUPTIONS)

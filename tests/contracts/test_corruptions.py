"""What every named corruption promises, on grey and color images, small and oblong.

Compiling is most of the time here. One program for each function takes the constants of all its
rows at all severities as an argument, and gives images and gradients.
"""

import inspect
import json
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.corruptions import CORRUPTIONS, FAMILIES
from noiseproof.corruptions.severity import constants_at
from noiseproof.corruptions.suites import GEOMETRIC, OCCLUSIONS

DETERMINISTIC = {
    "gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate",
    "pixelate", "jpeg_compression", "scale", "stripe", "mnist/canny_edges",
}  # fmt: skip
# Some of MNIST-C's are the very same rows: once is enough.
NAMES = list({id(row): name for name, row in reversed(CORRUPTIONS.items())}.values())[::-1]
FUNCTIONS = list({CORRUPTIONS[name].apply: name for name in reversed(NAMES)}.values())[::-1]
# These ask whether a constant is known, or how many channels there are.
BRANCHING = [
    "motion_blur", "glass_blur", "mnist/glass_blur", "snow", "frost", "spatter",
    "jpeg_compression", "zoom_blur",
]  # fmt: skip
OBLONG, TINY_GREY = (12, 20, 3), (8, 8, 1)
SEVERITIES = (1, 2, 3, 4, 5)
KEY = jax.random.key(1)
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TARGETS = json.loads((BENCHMARKS / "corruption_targets.json").read_text("utf-8"))["cifar-10"]
# What is compiled here runs once or twice.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


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


@cache
def tables_of(name):
    """The rows that share the function of that one, and their constants: [rows, severities]."""
    function = CORRUPTIONS[name].apply
    rows = [other for other in NAMES if CORRUPTIONS[other].apply is function]
    graded = {constant for row in rows for constant, _ in CORRUPTIONS[row].tables}
    defaults = {
        option.name: option.default
        for option in inspect.signature(function).parameters.values()
        if option.name in graded and option.default is not option.empty
    }
    found = [[defaults | constants_at(CORRUPTIONS[row], s) for s in SEVERITIES] for row in rows]
    bounds = {
        constant: max(at[constant] for row in found for at in row)
        for constant in set(found[0][0]) - graded
    }
    tables = {n: jnp.asarray([[at[n] for at in row] for row in found]) for n in graded}
    # One more, for what has no constants.
    return rows, (jnp.ones((len(rows), 5)), tables), bounds


@cache
def results(name, seed=1):
    """Of a function: images and gradients, each [rows, severities, images, ...]."""
    tables = tables_of(name)[1]
    keys = jax.random.split(jax.random.key(seed), 5)
    return jax.tree.map(np.asarray, program(name)(pictures(OBLONG), tables, keys))


@cache
def program(name):
    row, bounds = CORRUPTIONS[name], tables_of(name)[2]

    def total(image, tables, key):
        _, constants = tables
        result = row.apply(image, key, **constants, **bounds).clip(0.0, 1.0)
        return result.sum(), result

    def both(image, tables, key):
        if row.differentiable:
            return jax.grad(total, has_aux=True)(image, tables, key)[::-1]
        return total(image, tables, key)[1], jnp.ones_like(image)

    of_images = jax.vmap(both, in_axes=(0, None, 0))
    of_severities = jax.vmap(of_images, in_axes=(None, 0, None))
    return jax.jit(jax.vmap(of_severities, in_axes=(None, 0, None)), compiler_options=QUICK)


def test_arguments_are_image_severity_key():
    for name, corruption in CORRUPTIONS.items():
        signature = inspect.signature(corruption)
        assert list(signature.parameters) == ["image", "severity", "key"], name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_row_changes_the_image_and_stays_finite_at_every_severity(name):
    images, _ = results(name)
    rows, _, _ = tables_of(name)
    assert images.shape == (len(rows), 5, 5, *OBLONG)
    assert images.dtype == np.float32
    changes = np.abs(images - pictures(OBLONG)).max(axis=(2, 3, 4, 5))
    for row, change, result in zip(rows, changes, images, strict=True):
        assert np.isfinite(result).all(), row
        assert (change > 1 / 255).all(), (row, change)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_key_alone_decides(name):
    images, other = results(name)[0], results(name, seed=2)[0]
    assert bool((images == other).all()) == (name in DETERMINISTIC)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_changes_grow_where_those_of_the_reference_do(name):
    rows, _, _ = tables_of(name)
    squares = np.mean((results(name)[0] - pictures(OBLONG)) ** 2, axis=(2, 3, 4, 5))
    for row, changes in zip(rows, np.sqrt(squares), strict=True):
        if row in {**GEOMETRIC, **OCCLUSIONS}:
            wanted = np.ones(4, bool)
        else:
            # In the reference by 2 percent or more.
            errors = np.array([cell[0] for cell in TARGETS[row]]) if row in TARGETS else np.ones(5)
            wanted = errors[1:] > 1.02 * errors[:-1]
        assert ((changes[1:] > changes[:-1]) | ~wanted).all(), (row, changes)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if CORRUPTIONS[name].differentiable])
def test_gradients_are_finite_and_flow(name):
    _, gradients = results(name)
    assert np.isfinite(gradients).all()
    # At the second severity, of the first row.
    assert (gradients[0, 1] != 0).mean() > 0.5


@pytest.mark.parametrize("name", BRANCHING)
def test_a_known_severity_is_a_traced_one_and_grey_images_are_changed_too(name):
    color, grey = pictures(OBLONG)[2], pictures(TINY_GREY)[2]
    key = jax.random.split(KEY, 5)[2]
    for severity in (3, 5):
        apply = jax.jit(
            lambda image, severity=severity: CORRUPTIONS[name](image, severity, key),
            compiler_options=QUICK,
        )
        row = tables_of(name)[0].index(name)
        traced = results(name)[0][row, severity - 1, 2]
        np.testing.assert_allclose(apply(color), traced, atol=1e-4)
    result = apply(grey)
    assert result.min() >= 0
    assert result.max() <= 1
    assert jnp.abs(result - grey).max() > 1 / 255


def test_shape_and_dtype_are_kept_and_values_clipped():
    for name in FUNCTIONS:
        row = CORRUPTIONS[name]
        image = jax.ShapeDtypeStruct(OBLONG if row.color_only else TINY_GREY, jnp.bfloat16)
        result = jax.eval_shape(lambda image, row=row: row(image, 3, KEY), image)
        assert (result.shape, result.dtype) == (image.shape, image.dtype), name
    bright = CORRUPTIONS["brightness"](jnp.ones(TINY_GREY), 5, KEY)
    np.testing.assert_array_equal(bright, 1.0)


def test_traced_constants_are_the_static_ones():
    traced_at = jax.jit(
        lambda level: {name: constants_at(CORRUPTIONS[name], level) for name in NAMES},
        compiler_options=QUICK,
    )
    for severity in (1, 2, 3, 4, 5, 2.25):
        for name, traced in jax.device_get(traced_at(severity)).items():
            for constant, value in constants_at(CORRUPTIONS[name], severity).items():
                if constant.startswith("max_"):
                    assert value <= traced[constant]
                else:
                    assert traced[constant] == pytest.approx(value, rel=1e-6)


def test_without_a_jit_it_is_the_same():
    image = pictures(TINY_GREY)[0]
    for name in ("contrast", "stripe"):
        alone = CORRUPTIONS[name](image, 3, KEY)
        compiled = jax.jit(CORRUPTIONS[name], static_argnums=1)(image, 3, KEY)
        np.testing.assert_allclose(alone, compiled, atol=1e-5)


def test_families_are_disjoint_and_named():
    members = [name for family in FAMILIES.values() for name in family]
    assert len(members) == len(set(members))
    assert set(members) <= set(CORRUPTIONS)

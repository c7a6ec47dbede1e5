"""`universal` against a plain twin, the table of width multipliers, and many widths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.layouts.layout import layout_of
from noiseproof.models import convnet, mlp
from noiseproof.optimizers import structured, universal
from noiseproof.optimizers.matrices import fans
from noiseproof.optimizers.structured import Scales, known_kind
from noiseproof.optimizers.universal import BASES, no_exponents, scales_of
from noiseproof.types import TensorRole

NUM_STEPS = 5
STEPS_PER_EPOCH = 0.5
PLACES = {
    "first": TensorRole("first", (3, 3, 1), 0.0),
    "hidden": TensorRole("hidden", (), 0.5),
    "readout": TensorRole("readout", (), 1.0),
    "bias": TensorRole("bias", (), 1.0),
    "gain": TensorRole("norm", (), 0.5),
    "seen": TensorRole("statistic", (), 0.5),
    "table": TensorRole("pointwise", (), 0.0),
    "scale": TensorRole("position", (), 0.5),
}
SHAPES = {
    "first": (3, 3, 1, 5),
    "hidden": (5, 7),
    "readout": (7, 3),
    "bias": (3,),
    "gain": (5,),
    "seen": (5,),
    "table": (4, 6),
    "scale": (6,),
}
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture
def in_double():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def random_theta(rule, seed=0):
    rng = np.random.default_rng(seed)
    theta = rule.init(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + 0.05 * rng.normal(size=leaf.shape), theta)


def random_params(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in SHAPES.items()}


def updates_of(rule, theta, num_steps, layout, params, gradients):
    """The updates of some steps at the same params."""

    @jit
    def run(theta, params, gradients):
        optimizer = rule.optimizer(theta, num_steps, layout)

        def step(state, grads):
            updates, state = optimizer.update(grads, state, params)
            return state, updates

        return jax.lax.scan(step, optimizer.init(params), gradients)[1]

    return run(theta, params, gradients)


KINDS = ["first", "hidden", "readout", "bias", "norm"]
ROWS = dict(zip(PLACES, [0, 1, 2, 3, 4, None, 1, 3], strict=True))


def twin_updates(theta, params, gradients):
    """Tensor by tensor and step by step, in numpy, from the formulas."""
    theta = {name: np.float64(value) for name, value in theta.items()}
    bases = [(27, 8), (100, 24), (128, 10), (1, 16), (1, 16)]
    adam_theory = [(0, 0), (-1, 0), (-1, 0), (0, 0), (0, 0)]
    orthogonal_theory = [(0, 0), (-1, 0.5), (-1, 0.5)]
    others = np.log([NUM_STEPS / 1000, 4 / 4])
    found = {name: [] for name in params}
    for name, param in params.items():
        row = ROWS[name]
        mean, square = np.zeros(param.shape), np.zeros(param.shape)
        for step in range(NUM_STEPS):
            grad = np.float64(gradients[name][step])
            mean, square = 0.9 * mean + 0.1 * grad, 0.999 * square + 0.001 * grad**2
            if row is None:
                found[name].append(np.zeros(param.shape))
                continue
            fan_in = np.prod(param.shape[:-1])
            fans = np.log([fan_in / bases[row][0], param.shape[-1] / bases[row][1]])

            def knots(values, fraction=step / NUM_STEPS):
                return np.interp(fraction * 3, np.arange(4), values)

            def learned(part, row, sizes):
                return np.exp(3 * theta[part][row] @ sizes)

            def of_run(part, row):
                epochs = np.log([(1 + NUM_STEPS / STEPS_PER_EPOCH) / 3])
                return learned(f"{part}_sizes", row, others) * learned(
                    f"{part}_epochs", row, epochs
                )

            rate = 3e-3 * max((1 + np.cos(np.pi * step / NUM_STEPS)) / 2, 0.01)
            rate *= np.exp(10 * knots(theta["step"][row]))
            common = of_run("step", row)
            adam = (mean / (1 - 0.9 ** (step + 1))) / (
                np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
            )
            theory = np.exp(np.dot(adam_theory[row], fans))
            total = common * theory * learned("adam_fans", row, fans) * adam
            if row < 3:
                share = 1 / (1 + np.exp(-10 * knots(theta["orthogonal"][row])))
                theory = np.exp(np.dot(orthogonal_theory[row], fans))
                scale = common * theory * learned("orthogonal_fans", row, fans)
                total = (1 - share) * total + share * scale * twin_orthogonalized(mean)
            decay = learned("decay_fans", row, fans)
            pull = 0.1 * np.exp(10 * knots(theta["decay"][row]))
            total = total + decay * of_run("decay", row) * pull * param
            if name == "first":
                pull = decay * of_run("pull", 0)
                total = total + pull * twin_filters(theta, param, knots)
            found[name].append(-rate * total)
    return {name: np.stack(steps) for name, steps in found.items()}


def twin_orthogonalized(momentum):
    matrix = momentum.reshape(-1, momentum.shape[-1])
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.linalg.norm(matrix)
    for _ in range(5):
        s = s * (3.4445 - 4.7750 * s**2 + 2.0315 * s**4)
    return (0.5 * max(matrix.shape) ** 0.5 * (u * s) @ v).reshape(momentum.shape)


def twin_filters(theta, param, knots):
    def smoothed(filters):
        padded = np.pad(filters, ((1, 1), (1, 1), (0, 0), (0, 0)), mode="edge")
        shifts = [padded[i : i + 3, j : j + 3] for i in range(3) for j in range(3)]
        return np.mean(shifts, axis=0)

    param = np.asarray(param)
    smooth = smoothed(param)
    smoother = smoothed(smoothed(smooth))
    mean = np.broadcast_to(param.mean(axis=(0, 1, 2)), param.shape)
    bands = (param - smooth, smooth - smoother, smoother - mean)
    rates = [0.1 * np.exp(10 * knots(row)) for row in theta["bands"][0]]
    rates.append(np.exp(10 * knots(theta["mean"][0])))
    return sum(rate * part for rate, part in zip(rates, (*bands, mean), strict=True))


@pytest.mark.usefixtures("in_double")
def test_is_its_twin():
    """Catches every wrong row, exponent, sign and scale; kinds without a row get a safe one."""
    rule = universal(counts_epochs=True, steps_per_epoch=STEPS_PER_EPOCH)
    theta, params = random_theta(rule), random_params(1)
    rng = np.random.default_rng(2)
    gradients = {
        name: jnp.asarray(rng.normal(size=(NUM_STEPS, *shape))) for name, shape in SHAPES.items()
    }
    found = updates_of(rule, theta, NUM_STEPS, PLACES, params, gradients)
    for name, expected in twin_updates(theta, params, gradients).items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=2e-6 * scale, err_msg=name)


@pytest.mark.parametrize("ratio", [1, 4, 16])
def test_at_theory_the_scales_are_the_table(ratio):
    """Width times r: Adam's direction 1/r in hidden weights and readout, the orthogonalized one
    r^-1/2 and 1/r, a first layer and vectors as they were; decays, length and depth touch nothing.
    """
    grows = {"first": (1, ratio), "hidden": (ratio, ratio), "readout": (ratio, 1)}
    names = ["first", "hidden", "readout", "bias", "gain"]
    shapes = []
    for name in names:
        base = BASES[PLACES[name].kind]
        width = grows.get(name, (1, ratio))
        sides = (round(base.fan_in * width[0]), round(base.fan_out * width[1]))
        shapes.append(sides if name in grows else sides[1:])
    theta = universal().init(jax.random.key(0))
    for num_steps in (1000, 5000):
        found = scales_of(theta, [PLACES[name] for name in names], shapes, num_steps)
        scales = Scales(*(np.array(column) for column in zip(*found, strict=True)))
        np.testing.assert_allclose(scales.adam, [1, 1 / ratio, 1 / ratio, 1, 1], rtol=1e-5)
        expected = [1, ratio**-0.5, 1 / ratio]
        np.testing.assert_allclose(scales.orthogonal[:3], expected, rtol=1e-5)
        np.testing.assert_allclose(scales.decay, np.ones(5), rtol=1e-6)
        np.testing.assert_allclose(scales.pull, np.ones(5), rtol=1e-6)


def test_a_theta_of_structured_makes_the_same_steps_at_the_base():
    """Catches a conversion that loses a rate, and a base that is not one."""
    params = {"layer_0": jnp.ones((27, 8)), "layer_1": jnp.ones((100, 24)), "bias": jnp.ones(16)}
    kinds = {"layer_0": "first", "layer_1": "hidden", "bias": "bias"}
    layout = {name: TensorRole(kind, (), 0.0) for name, kind in kinds.items()}
    theta = random_theta(structured(), 3)
    theta = jax.tree.map(jnp.float32, theta)
    rng = np.random.default_rng(4)
    gradients = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=(3, *leaf.shape)), jnp.float32), params
    )
    old, new = (
        updates_of(rule, values, 1000, layout, params, gradients)
        for rule, values in ((structured(), theta), (universal(), {**theta, **no_exponents()}))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-9), old, new)


def test_epochs_that_are_not_told_are_two():
    """Catches a default that is no base, and epochs that a theta without them takes."""
    places, shapes = list(PLACES.values()), list(SHAPES.values())
    theta = random_theta(universal(counts_epochs=True))

    def scales(theta, steps_per_epoch):
        found = scales_of(theta, places, shapes, 1000, steps_per_epoch=steps_per_epoch)
        return np.array(found)

    np.testing.assert_allclose(scales(theta, None), scales(theta, 500), rtol=1e-6)
    assert (abs(scales(theta, 5) / scales(theta, 500) - 1) > 1e-3).any(axis=1).all()
    without = random_theta(universal())
    np.testing.assert_array_equal(scales(without, 5), scales(without, None))


@pytest.mark.parametrize("steps", [0, -1.0, float("nan"), float("inf")])
def test_steps_of_an_epoch_are_a_positive_number(steps):
    with pytest.raises(ValueError, match="steps_per_epoch must be positive and finite, got"):
        universal(steps_per_epoch=steps)


def test_a_bias_or_gain_has_a_unit_for_each_entry_whatever_its_axes():
    """Catches a bias of (64, 1, 1), Equinox's, or (4, 16), of heads, with a fan in above one."""
    for kind in ("bias", "norm"):
        for shape in ((64,), (64, 1, 1), (4, 16), (1, 64)):
            assert fans(TensorRole(kind, (), 0.5), shape) == (1, 64)
    assert fans(TensorRole("position", (), 0.5), (1, 9, 64)) == (9, 64)
    assert fans(TensorRole("token", (), 0.5), (1, 1, 64)) == (1, 64)


def test_what_is_no_matrix_counts_as_a_vector():
    """Catches a vector called a readout, whose fan in of one would ask for giant steps."""
    assert known_kind(TensorRole("readout", (), 1.0), (8,)) == "bias"
    assert known_kind(TensorRole("token", (), 0.5), (8, 8)) == "bias"
    assert known_kind(TensorRole("position", (), 0.5), ()) == "bias"


@pytest.mark.parametrize("build", ["mlp", "convnet"])
def test_activations_change_alike_at_all_widths(build):
    """The coordinate check of Yang et al.: what a few steps change in the hidden features and the
    logits is of one size from a width of 8 to one of 128; with `structured` it grows."""
    images = jnp.asarray(np.random.default_rng(0).random((16, 8, 8, 1)), jnp.float32)
    labels = jnp.arange(16) % 4

    def change_of(rule, width):
        if build == "mlp":
            sizes = {"hidden_sizes": (width, width)}
            model = mlp(image_shape=(8, 8, 1), num_classes=4, **sizes)
        else:
            model = convnet(image_shape=(8, 8, 1), num_classes=4, channels=(width, width))
        layout = layout_of(jax.eval_shape(model.init, jax.random.key(0)), (8, 8, 1))

        @jit
        def run(key):
            params = model.init(key)
            optimizer = rule.optimizer(rule.init(key), 1000, layout)

            def loss(params):
                logits = model.apply(params, images)
                return -jax.nn.log_softmax(logits)[jnp.arange(16), labels].mean()

            def step(carry, _):
                params, state = carry
                updates, state = optimizer.update(jax.grad(loss)(params), state, params)
                return (jax.tree.map(jnp.add, params, updates), state), None

            (after, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=4)
            moved = model.apply(after, images) - model.apply(params, images)
            return jnp.sqrt((moved**2).mean())

        return float(np.mean([run(jax.random.key(seed)) for seed in range(2)]))

    widths = (8, 32, 128)
    flat = [change_of(universal(), width) for width in widths]
    slope = np.polyfit(np.log(widths), np.log(flat), 1)[0]
    assert abs(slope) < 0.3
    steep = [change_of(structured(), width) for width in widths[::2]]
    assert np.log(steep[1] / steep[0]) / np.log(16) > 0.25


def test_two_knots_are_needed():
    with pytest.raises(ValueError, match="num_knots must be at least 2, got 1"):
        universal(num_knots=1)

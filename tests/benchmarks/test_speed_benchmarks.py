"""Every benchmark of speed runs with all its options, and its own arithmetic is right."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """`name -> module` of a benchmark."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_windows_take_turns_and_the_first_does_not_count(module):
    calls = []
    windows = module("windows")

    def timed(name):
        return windows.Timed(1.0, lambda: calls.append(name))

    found = windows.rates({"a": timed("a"), "b": timed("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert {name: len(one.wall) for name, one in found.items()} == {"a": 2, "b": 2}


def test_the_ratio_is_that_of_the_same_window(module):
    # A machine half as fast in the second window changes both rates and not their ratio.
    assert module("windows").median_ratio([2.0, 1.0, 2.0], [4.0, 2.0, 4.0]) == 0.5


def test_the_slope_of_what_grows_with_the_square_is_two(module):
    assert module("scaling").slope((1, 2, 8), [3.0, 12.0, 192.0]) == pytest.approx(2.0)


def test_a_cost_leaves_proportion_where_its_slope_first_does(module):
    found = module("scaling").proportional_up_to((1, 2, 4, 8), [1.0, 2.0, 4.0, 20.0])
    assert found == 4
    assert module("scaling").proportional_up_to((1, 2, 4), [8.0, 4.0, 4.0], -1.0) == 2


def test_instructions_of_a_program_are_found_with_their_shapes(module):
    text = jax.jit(lambda a, b: a @ b).lower(jnp.ones((3, 4)), jnp.ones((4, 5))).compile().as_text()
    found = module("operations").instructions(text).values()
    assert ("f32[3,5]", "dot_general") in {(one.shape, one.source.split("/")[-1]) for one in found}


def test_the_count_of_a_step_is_that_of_one_particle(module):
    problems = module("problems")
    problem = problems.PROBLEMS["mlp"]._replace(
        build=lambda **options: problems.mlp(hidden_sizes=(8,), **options), image_shape=(8, 8, 1)
    )
    objective = problems.build_objective(problem, "structured")
    data = problems.random_data(problem)
    one, three = (module("meta_training").step_cost(objective, data, num) for num in (1, 3))
    # Three products of the first layer (forward, gradient, outer loss), four of the readout.
    products = 2 * problem.batch_size * (3 * 64 * 8 + 4 * 8 * problems.NUM_CLASSES)
    for cost in (one, three):
        assert products < cost["flop"] < 3 * products
        assert cost["bytes"] > 3 * 4 * problem.batch_size * 64
    np.testing.assert_allclose(three["flop"], one["flop"], rtol=0.1)


def test_factors_are_rounded_forward_and_backward_and_with_all_bits_not_at_all(module):
    rounding = module("rounded_products")
    nearly_one = jnp.full((1, 1), 1 + 2.0**-11 + 2.0**-20)
    value, gradients = jax.value_and_grad(lambda a, b: rounding.product(10)(a, b).sum(), (0, 1))(
        nearly_one, nearly_one
    )
    # Up to 1 + 2^-10, the next number with 10 bits behind the point.
    np.testing.assert_array_equal(value, (1 + 2.0**-10) ** 2)
    np.testing.assert_array_equal(jnp.stack(gradients).ravel(), [1 + 2.0**-10] * 2)
    model, exact = (rounding.rounded_mlp(23), rounding.mlp(image_shape=(8, 8, 1), num_classes=10))
    params, images = exact.init(jax.random.key(0)), jnp.linspace(0, 1, 128).reshape(2, 8, 8, 1)
    np.testing.assert_allclose(model.apply(params, images), exact.apply(params, images), rtol=1e-6)


TINY = [
    "meta_training --rule structured --estimator nres --pairs 1 --outer-steps 1 --windows 1",
    "meta_training --rule structured --model small_color_convnet --pairs 1 --outer-steps 1"
    " --windows 1 --matmul-precision highest",
    "learned_step --rule structured --model mlp --steps 2 --windows 1",
    "rounded_products --steps 20 --seeds 2",
    "scaling --rule structured --pairs 1 2 --inner-steps 10 20 --width 4 8 --tasks 1 2"
    " --devices 1 2 --windows 1",
]


def record_of(command, folder):
    script, *options = command.split()
    path = folder / "new" / "record.json"
    words = [sys.executable, str(BENCHMARKS / f"{script}.py"), *options, "--json", str(path)]
    subprocess.run(words, check=True, timeout=300, capture_output=True)
    return json.loads(path.read_text("utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("command", TINY)
def test_every_option_runs_and_gives_finite_numbers(command, tmp_path):
    record = record_of(command, tmp_path)
    numbers = [leaf for leaf in jax.tree.leaves(record) if isinstance(leaf, float)]
    assert numbers
    assert np.isfinite(numbers).all()
    assert record["versions"]["jax"] == jax.__version__


@pytest.mark.slow
def test_what_operations_took_is_about_what_went_by(tmp_path):
    record = record_of("operations --rule structured --pairs 2 --shown 1000", tmp_path)
    shown = sum(one["microseconds"] for one in record["operations"])
    assert shown == pytest.approx(record["microseconds_of_all_operations"])
    # No operation is counted twice: together they keep at most all cores busy.
    assert 0.2 < shown / record["microseconds_a_step"] < record["cores"]


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_every_benchmark_finds_what_it_imports(module, name):
    """Catches one that is run on other machines alone, and names what is no longer there."""
    assert module(name).__doc__

import jax
import jax.numpy as jnp
import optax
import pytest

from noiseproof.evaluate.tuning import tune
from noiseproof.optimizers.rivals import LogUniform, Rival
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Recipe

TASK = quadratic(num_dimensions=2)
SGD = Rival(
    {"learning_rate": LogUniform(1e-4, 10.0)},
    lambda values, _num_steps: Recipe(optax.sgd(values["learning_rate"])),
)


def data(outer_target: float) -> QuadraticData:
    return QuadraticData(jnp.zeros(2), jnp.full(2, outer_target))


def search(rival: Rival = SGD, outer: float = 0.0, select: float = 0.0, **options: int):
    options = {"num_steps": 20, "num_trials": 30, **options}
    return tune(TASK, rival, data(outer), data(select), jax.random.key(0), **options)


def test_the_best_rate_of_a_quadratic_is_found_and_diverged_trials_lose() -> None:
    # One step of rate 1 ends in the minimum; rates above 2 diverge, and half a range lies there.
    found = search()
    assert 0.3 < found.values["learning_rate"] < 1.7
    assert found.outer_loss < 1e-3
    assert found.on_edge == []
    assert found.num_trials == 30


def test_finalists_are_chosen_on_select() -> None:
    # From about (0, 1) on, small rates stay near the start: two targets, two answers.
    chosen = [search(select=target, num_finalists=30).values for target in (0.0, 3.0)]
    assert chosen[0] != chosen[1]
    losses = [search(select=target).select_loss for target in (0.0, 3.0)]
    assert losses[0] < 0.1 < losses[1]


def test_a_best_point_at_the_edge_warns() -> None:
    slow = Rival({"learning_rate": LogUniform(1e-6, 1e-2)}, SGD.recipe)
    with pytest.warns(UserWarning, match="the best learning_rate lies at the edge of its range"):
        found = search(slow, num_trials=60)
    assert found.on_edge == ["learning_rate"]


def test_a_search_is_fixed_by_its_key() -> None:
    assert search() == search()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_finalists": 0}, "num_finalists must be 1 to num_trials = 30, got 0"),
        ({"num_finalists": 31}, "num_finalists must be 1 to num_trials = 30, got 31"),
        ({"num_final_runs": 0}, "num_final_runs must be positive, got 0"),
    ],
)
def test_bad_counts_are_named(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(**options)

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.evaluate.tuning import scorer, tune
from noiseproof.inner_loop import Window
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import LogUniform
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Recipe

TASK = quadratic(num_dimensions=2)
LATE = Window(last_share=0.1)
SGD = Rival(
    {"learning_rate": LogUniform(1e-4, 10.0)},
    lambda values, _num_steps, _layout: Recipe(optax.sgd(values["learning_rate"])),
)


def data(outer_target: float) -> QuadraticData:
    return QuadraticData(jnp.zeros(2), jnp.full(2, outer_target))


def search(rival: Rival = SGD, outer: float = 0.0, select: float = 0.0, **options):
    options = {"layout": None, "num_steps": 20, "window": LATE, "num_trials": 30, **options}
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


def test_fewer_trials_than_finalists_are_all_finalists() -> None:
    found = search(num_trials=2)
    assert found.num_trials == 2
    assert search(num_trials=1, num_final_runs=1).num_trials == 1


def test_a_rival_says_how_many_trials_it_needs() -> None:
    assert search(SGD._replace(num_trials=7), num_trials=None).num_trials == 7
    assert search(num_trials=None).num_trials == 32


def score_all(rates: np.ndarray, num_at_once: int, rival: Rival = SGD, **options) -> np.ndarray:
    options = {"num_steps": 3, "window": Window(), **options}
    score = scorer(TASK, rival, None, num_at_once=num_at_once, **options)
    keys = jax.random.split(jax.random.key(2), len(rates))
    return score({"learning_rate": rates}, data(1.0), keys)


def test_runs_that_do_not_fill_a_call_keep_their_places() -> None:
    """Catches a call that is filled up wrongly: 7 runs in calls of 3, and in one of 16."""
    rates = np.linspace(0.1, 0.9, 7)
    expected = score_all(rates, 7)
    assert len(np.unique(expected)) == 7
    for num_at_once in (3, 16):
        np.testing.assert_allclose(score_all(rates, num_at_once), expected, rtol=1e-6)


def test_many_trials_share_one_program() -> None:
    """Catches a program for each call, and one that grows with the number of trials."""
    traces = []

    def recipe(values, _num_steps, _layout):
        traces.append(values["learning_rate"].shape)
        return Recipe(optax.sgd(values["learning_rate"]))

    search(Rival(SGD.knobs, recipe), num_trials=100, num_final_runs=3)
    assert traces == [()]


def test_a_share_that_rounds_to_nothing_scores_the_last_step() -> None:
    """One step of rate 1 ends in the target (0, 0), half a square of (1, 1) away from the outer."""
    found = score_all(np.array([1.0]), 1, window=Window(last_share=0.01))
    assert float(found[0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_trials": 0}, "num_trials must be positive, got 0"),
        ({"num_finalists": 0}, "num_finalists must be positive, got 0"),
        ({"num_final_runs": 0}, "num_final_runs must be positive, got 0"),
        ({"window": Window(last_share=0.0)}, r"last_share must lie in \(0, 1\], got 0.0"),
    ],
)
def test_bad_options_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(**options)

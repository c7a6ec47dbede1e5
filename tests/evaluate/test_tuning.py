import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.evaluate.scoring import TunedOn, drawn, outer_loss, scorer
from noiseproof.evaluate.search import Trial, promising_points, random_points
from noiseproof.evaluate.tuning import (
    Budget,
    Start,
    all_trials,
    chosen_finalists,
    tune,
)
from noiseproof.inner_loop import Window
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import LogUniform, Switch, place_of
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


def problem(outer: float = 0.0, select: float = 0.0, num_steps: int = 20, window: Window = LATE):
    return TunedOn(TASK, data(outer), data(select), None, num_steps, window)


def search(rival: Rival = SGD, start: Start | None = None, name: str = "sgd", **options):
    places = {key: options.pop(key) for key in ("outer", "select", "num_steps") if key in options}
    budget = Budget(**{"num_trials": 30, "num_runs": 2, "num_final_runs": 2, **options})
    where = {} if start is None else {"start": start}
    return tune(problem(**places), rival, budget, jax.random.key(0), name=name, **where)


@pytest.fixture(scope="module")
def found():
    return search()


def test_the_best_rate_of_a_quadratic_is_found_and_diverged_trials_lose(found) -> None:
    # One step of rate 1 ends in the minimum; rates above 2 diverge.
    assert 0.3 < found.values["learning_rate"] < 1.7
    assert found.outer_loss < 1e-3
    assert found.on_edge == []
    assert found.num_trials == 30


def test_trials_are_kept_in_the_order_asked(found) -> None:
    """Catches columns of the record that do not belong together: a rate decides its loss."""
    assert found.rounds == [0] * 16 + [1] * 14
    rates, losses = found.points["learning_rate"], found.outer_losses
    # After t steps of rate r a distance is |1 - r|^t of what it was; losses are clipped at 10.
    by_loss = np.argsort(losses)[: sum(loss < 9.0 for loss in losses)]
    assert len(by_loss) > 10
    assert by_loss.tolist() == np.argsort(np.abs(1.0 - np.array(rates)))[: len(by_loss)].tolist()
    assert found.outer_loss == min(losses)
    assert found.best(3)[0] == Trial(found.values, found.outer_loss)


def test_points_asked_knowing_more_are_better(found) -> None:
    """Catches a search that goes on at random: a tenth of all places is as good as its best."""
    good = np.abs(1.0 - np.array(found.points["learning_rate"])) < 0.7
    rounds = np.array(found.rounds)
    assert good[rounds == 1].mean() > 2 * good[rounds == 0].mean()


def test_a_search_is_fixed_by_its_key_and_name(found) -> None:
    assert search() == found
    other = search(name="another")
    assert other.points != found.points


def test_all_rivals_meet_the_same_pools_and_seeds() -> None:
    """Catches a search with draws of its own: the same point under two names, at noisy starts."""
    fixed = Rival({"learning_rate": LogUniform(0.01, 0.010001)}, SGD.recipe)
    options = {"num_steps": 1, "num_trials": 2, "num_finalists": 1}
    one, two = (search(fixed, name=name, **options) for name in ("one", "two"))
    np.testing.assert_allclose(one.outer_losses, two.outer_losses, rtol=1e-4)
    np.testing.assert_allclose(one.final_losses, two.final_losses, rtol=1e-4)
    # Several of both: runs of a trial, and finals, differ from each other.
    assert len(set(one.final_losses)) == 2
    draws = drawn(problem(), data(0.0), 3, jax.random.key(0))
    keys = [tuple(np.asarray(jax.random.key_data(key))) for _, key in draws]
    assert len(set(keys)) == 3


def test_theta_is_scored_where_rivals_are() -> None:
    fixed = Rival({"learning_rate": LogUniform(0.01, 0.010001)}, SGD.recipe)
    found = search(fixed, num_steps=1, num_trials=1)
    recipe = Recipe(optax.sgd(0.01))
    loss = outer_loss(problem(num_steps=1), recipe, 2, jax.random.key(0))
    assert loss == pytest.approx(found.outer_losses[0], rel=1e-4)


def test_finalists_are_chosen_on_select() -> None:
    # From about (0, 1) on, small rates stay near the start: two targets, two answers.
    chosen = [search(select=target, num_finalists=30) for target in (0.0, 3.0)]
    assert chosen[0].values != chosen[1].values
    assert chosen[0].select_loss < 0.1 < chosen[1].select_loss


def test_what_is_contained_counts_among_the_finalists() -> None:
    """Catches a call of finalists that is one too many for the devices, and one without new ones
    where much is contained."""
    tried = [Trial({"rate": float(rate)}, float(rate)) for rate in range(9)]
    winners = [[Trial({"rate": -float(rate)}, 99.0)] for rate in range(1, 10)]
    for num_winners, expected in ((0, 8), (2, 8), (9, 13)):
        chosen = chosen_finalists(tried, Start(winners[:num_winners]), 8)
        assert len(chosen) == expected
        assert chosen[:num_winners] == [one for (one,) in winners[:num_winners]]
        assert chosen[num_winners:] == tried[: expected - num_winners]


def test_a_container_is_no_worse_than_what_it_contains() -> None:
    """Its search is a single bad point; what it contains is its finalist all the same."""
    best = Trial({"learning_rate": 1.0}, 0.0)
    far = Rival({"learning_rate": LogUniform(1e-4, 1e-3)}, SGD.recipe)
    found = search(far, Start([[best]]), num_trials=1, num_finalists=1)
    assert found.values == {"learning_rate": 1.0}
    assert found.num_trials == 1
    assert found.select_loss < 1e-3


def test_points_worth_a_trial_come_after_the_random_ones() -> None:
    worth = Start(worth_a_trial=[{"learning_rate": 0.9}])
    found = search(start=worth, num_trials=17)
    assert found.points["learning_rate"][16] == 0.9
    assert found.rounds[16] == 1


def trials_of(knobs, loss_of, **options):
    options = {"num_trials": 40, "at_once": 8, "start": Start(), "seed": 1, **options}
    return all_trials(knobs, lambda points: [loss_of(point) for point in points], **options)


def test_a_range_with_its_best_point_on_the_edge_is_widened() -> None:
    """The best place lies a factor of 30 beyond; catches a search that stays within."""
    knobs = {"rate": LogUniform(1e-6, 1e-3)}
    wider, tried, _ = trials_of(knobs, lambda point: abs(np.log(point["rate"] / 3e-2)))
    best = min(tried, key=lambda trial: trial.outer_loss)
    assert wider["rate"].high > 3e-2
    assert best.values["rate"] > 3e-3
    assert 40 <= len(tried) <= 50


def test_a_best_point_that_stays_at_the_edge_warns() -> None:
    """To five digits, all that this range holds is its ends."""
    slow = Rival({"learning_rate": LogUniform(1e-4, 1.0001e-4)}, SGD.recipe)
    with pytest.warns(UserWarning, match="the best learning_rate lies at the edge of its range"):
        found = search(slow, num_trials=1)
    assert found.on_edge == ["learning_rate"]


def test_a_switch_is_learned_and_points_of_a_round_differ() -> None:
    """Catches a switch that is a number to the estimator, and rounds without the constant liar."""
    knobs = {"rate": LogUniform(1e-3, 1.0), "flag": Switch()}
    known = [
        Trial(point, abs(np.log(point["rate"] / 0.03)) + 5.0 * (point["flag"] < 0.5))
        for point in random_points(knobs, 24, 0)
    ]
    asked = promising_points(knobs, known, 8, 1)
    assert sum(point["flag"] for point in asked) >= 6
    assert len({point["rate"] for point in asked}) == 8
    distance = [abs(place_of(knobs["rate"], point["rate"]) - 0.49) for point in asked]
    assert np.median(distance) < 0.25


def score_all(rates, num_at_once: int) -> np.ndarray:
    draws = [(data(target), jax.random.key(seed)) for target, seed in ((1.0, 2), (3.0, 4))]
    score = scorer(problem(num_steps=3, window=Window()), SGD, num_at_once, [draws])
    return score([{"learning_rate": rate} for rate in rates], draws)


def test_points_that_do_not_fill_a_call_keep_their_places() -> None:
    """Catches a call that is filled up wrongly: 7 points in calls of 3, and in one of 16."""
    rates = np.linspace(0.1, 0.9, 7).tolist()
    expected = score_all(rates, 7)
    assert expected.shape == (7, 2)
    assert len(np.unique(expected)) == 14
    for num_at_once in (3, 16):
        np.testing.assert_allclose(score_all(rates, num_at_once), expected, rtol=1e-6)


def test_pools_that_are_stacked_score_as_in_turn(monkeypatch) -> None:
    """Catches runs of a GPU's one call that meet each other's pools or keys, or change places."""
    rates = np.linspace(0.1, 0.9, 5).tolist()
    expected = score_all(rates, 3)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(score_all(rates, 3), expected, rtol=1e-6)


def test_a_search_with_fewer_points_than_finalists_ends_at_its_forecast() -> None:
    """Catches a forecast of runs that never come: 3 points of 2 runs, and 2 more of each."""
    calls: list[tuple[int, int]] = []
    tune(
        *(problem(), SGD, Budget(num_trials=3, num_runs=2, num_finalists=8, num_final_runs=2)),
        jax.random.key(0),
        name="sgd",
        on_runs=lambda *call: calls.append(call),
    )
    assert calls[0] == (0, 12)
    assert calls[-1] == (12, 12)


def test_many_trials_share_one_program() -> None:
    """Catches a program for each call, and one that grows with the number of trials."""
    traces = []

    def recipe(values, _num_steps, _layout):
        traces.append(values["learning_rate"].shape)
        return Recipe(optax.sgd(values["learning_rate"]))

    search(SGD._replace(recipe=recipe), num_trials=60)
    assert traces == [()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_trials": 0}, "num_trials must be positive, got 0"),
        ({"num_runs": 0}, "num_runs must be positive, got 0"),
        ({"num_finalists": 0}, "num_finalists must be positive, got 0"),
        ({"num_final_runs": 0}, "num_final_runs must be positive, got 0"),
        (
            {"rival": SGD._replace(knobs={"learning_rate": LogUniform(1.0, 0.1)})},
            "The range of learning_rate must go from above 0 up to at most inf, got 1 to 0.1",
        ),
    ],
)
def test_bad_options_are_named(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(**options)


def test_a_missing_optuna_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match="tuning of rivals needs optuna, which is not installed"):
        search(num_trials=20)

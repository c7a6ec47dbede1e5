"""Inner training: what a run's key fixes, and what a recipe may say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.inner_loop import Window
from noiseproof.tasks.quadratic import QuadraticData, quadratic
from noiseproof.types import Recipe, Regularization

TASK = quadratic(num_dimensions=3, noise_std=1.0)
DATA = QuadraticData(jnp.array([1.0, 2.0, 3.0]), jnp.array([-1.0, 0.0, 1.0]))
KEY = jax.random.key(4)
SGD = Recipe(optax.sgd(0.1))


def train(recipe, key=KEY, *, task=TASK):
    return jax.jit(lambda key: inner_loop.train(task, recipe, DATA, 10, key))(key)


def score(recipe, window, *, data=DATA):
    return jax.jit(lambda data: inner_loop.score(TASK, recipe, data, 10, KEY, window=window))(data)


@pytest.fixture(scope="module")
def stepped():
    """Ten single steps: the states after each, the losses, the meta-losses."""

    @jax.jit
    def one(state):
        state, loss = inner_loop.step(TASK, SGD, state, DATA, KEY)
        outer_key = inner_loop.step_keys(state.step, KEY)[2]
        return state, loss, inner_loop.meta_loss(TASK, SGD, state, DATA, outer_key)

    state = inner_loop.init(TASK, SGD, KEY)
    rows = []
    for _ in range(10):
        state, loss, meta_loss = one(state)
        rows.append((state, float(loss), float(meta_loss)))
    return tuple(zip(*rows, strict=True))


def test_training_is_step_after_step(stepped):
    states, losses, _ = stepped
    run = train(SGD)
    np.testing.assert_allclose(run.params["weight"], states[-1].params["weight"], rtol=1e-5)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-5)
    assert [int(state.step) for state in states] == list(range(1, 11))


@pytest.mark.parametrize(
    ("window", "counted"),
    [
        (Window(), range(1, 11)),
        (Window(last_share=0.3), (8, 9, 10)),
        (Window(last_share=0.01), (10,)),  # however small the share
        (Window(loss_interval=5, last_share=0.6), (5, 10)),  # the last six steps
        (Window(loss_interval=2, last_share=0.5, max_loss=3.0), (6, 8, 10)),
    ],
)
def test_the_window_is_scored(stepped, window, counted):
    """Catches a loss too many or too few, and a clip that is left out."""
    meta_losses = np.minimum(stepped[2], window.max_loss)
    assert window.max_loss == 10.0 or max(meta_losses) == window.max_loss
    expected = np.mean([meta_losses[step - 1] for step in counted])
    assert float(score(SGD, window)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("flawed", ["target", "outer_target"])
def test_a_run_that_diverged_scores_infinity(flawed):
    """In training or outside, though a clipped infinity looks like a loss."""
    data = DATA._replace(**{flawed: jnp.full(3, jnp.inf)})
    assert float(score(SGD, Window(last_share=0.3), data=data)) == np.inf


@pytest.mark.parametrize("in_turn", [False, True])
def test_many_runs_are_each_as_if_alone(in_turn):
    keys = jax.random.split(KEY, 3)
    runs = inner_loop.over_runs(lambda key: train(SGD, key), in_turn=in_turn)(keys)
    for index, key in enumerate(keys):
        np.testing.assert_allclose(runs.losses[index], train(SGD, key).losses, rtol=1e-5)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window(loss_interval=0), "loss_interval must divide num_steps = 10, got 0"),
        (Window(loss_interval=3), "loss_interval must divide num_steps = 10, got 3"),
        (Window(last_share=0.0), r"last_share must lie in \(0, 1\], got 0\.0"),
        (Window(last_share=1.5), r"last_share must lie in \(0, 1\], got 1\.5"),
        (Window(last_share=float("nan")), r"last_share must lie in \(0, 1\], got nan"),
        (Window(max_loss=0.0), r"max_loss must be positive, got 0\.0"),
    ],
)
def test_bad_windows(window, message):
    with pytest.raises(ValueError, match=message):
        inner_loop.score(TASK, SGD, DATA, 10, KEY, window=window)


def test_filters_on_a_cpu_are_faster_in_turn():
    """Also where weights are scaled or stand beside those of another task."""
    filters, matrix = jnp.zeros((3, 3, 1, 8)), jnp.zeros((8, 10))
    assert inner_loop.faster_in_turn([{"weight": filters}, {"weight": matrix}], "cpu")
    assert not inner_loop.faster_in_turn([{"weight": matrix}], "cpu")
    assert not inner_loop.faster_in_turn([{"weight": filters}], "gpu")


def lottery(params, _data, key):
    """A loss that is its key's draw, and no question of the weights."""
    return jax.random.uniform(key) + 0.0 * params["weight"].sum()


def test_a_key_fixes_weights_and_batches_for_every_recipe():
    """Catches draws that depend on the recipe: differences between optimizers are paired."""
    task = TASK._replace(loss=lottery)
    noisy = Recipe(
        optax.adam(0.3),
        perturb=lambda params, _grads, key: jax.tree.map(
            lambda leaf: leaf + jax.random.normal(key, leaf.shape), params
        ),
    )
    still, moved = train(SGD, task=task), train(noisy, task=task)
    np.testing.assert_array_equal(still.losses, moved.losses)
    assert len(np.unique(still.losses)) == 10
    other = train(SGD, jax.random.key(5), task=task)
    assert not np.intersect1d(still.losses, other.losses).size
    starts = [inner_loop.init(TASK, recipe, KEY).params["weight"] for recipe in (SGD, noisy)]
    np.testing.assert_array_equal(*starts)


def test_batch_recipe_and_meta_loss_draw_from_keys_of_their_own():
    """Catches a batch that is judged on the draw it was trained on, and a key used twice.

    Weights, losses and meta-losses are here the first uniform number of the key they were given.
    """

    def draw(key):
        return {"weight": jnp.full(3, jax.random.uniform(key))}

    task = TASK._replace(init=draw, loss=lottery, meta_loss=lottery)
    perturbed = task._replace(loss=lambda params, _data, _key: params["weight"][0])
    recipe = Recipe(optax.sgd(0.0), perturb=lambda _params, _grads, key: draw(key))
    draws = [inner_loop.init(task, recipe, KEY).params["weight"][:1]]
    for loss in (task, perturbed):
        state = inner_loop.init(loss, recipe, KEY)
        draws.append(inner_loop.advance(loss, recipe, state, DATA, 10, KEY)[1])
    scores = [
        inner_loop.meta_loss(task, recipe, state, DATA, inner_loop.step_keys(step, KEY)[2])
        for step in map(jnp.int32, range(1, 11))
    ]
    assert len(np.unique(np.concatenate([*draws, scores]))) == 1 + 10 + 10 + 10


def test_runs_side_by_side_are_the_runs_alone():
    keys = jax.random.split(KEY, 3)
    together = jax.jit(jax.vmap(lambda key: inner_loop.train(TASK, SGD, DATA, 10, key)))(keys)
    for index in range(3):
        alone = train(SGD, keys[index])
        np.testing.assert_allclose(together.losses[index], alone.losses, rtol=1e-5)
    assert len(np.unique(together.losses[:, 0])) == 3


def test_a_diverged_run_is_data():
    """Too large a step overflows; the run is returned and says so."""
    run = train(Recipe(optax.sgd(1e9)))
    assert bool(run.diverged)
    assert run.losses.shape == (10,)
    assert not bool(train(SGD).diverged)


def test_weights_that_the_last_step_spoilt_are_a_diverged_run():
    """Catches classifiers of NaN that count as trained, since no loss was taken after them."""

    def spoilt(updates, step, _params=None):
        return jax.tree.map(lambda leaf: jnp.where(step < 9, leaf, jnp.nan), updates), step + 1

    rule = optax.GradientTransformation(lambda _params: jnp.zeros((), jnp.int32), spoilt)
    found = train(Recipe(optax.chain(optax.sgd(0.1), rule)))
    assert np.isfinite(found.losses).all()
    assert found.diverged


def test_one_bad_loss_is_enough_to_diverge():
    """Though the weights come back, as they do where a recipe clips or skips."""
    bad_key = inner_loop.step_keys(jnp.int32(4), KEY)[0]

    def loss(params, data, key):
        bad = (jax.random.key_data(key) == jax.random.key_data(bad_key)).all()
        return jnp.where(bad, jnp.inf, TASK.loss(params, data, key))

    run = train(SGD, task=TASK._replace(loss=loss))
    np.testing.assert_array_equal(jnp.isfinite(run.losses), [i != 4 for i in range(10)])
    assert bool(run.diverged)


SURE = quadratic(num_dimensions=3)


def test_the_gradient_is_taken_where_the_recipe_says():
    """Half a gradient further up a quadratic the gradient is half as large again.

    The step starts from the weights, and decay is of them too, not of the perturbed ones. The loss
    is the one at the perturbed weights, 1.5² times that at the weights.
    """

    def climb(params, grads_fn, _key):
        grads = grads_fn(params)
        return jax.tree.map(lambda leaf, grad: leaf + 0.5 * grad, params, grads)

    decayed = optax.chain(optax.add_decayed_weights(2.0), optax.sgd(0.1))
    recipe = Recipe(decayed, perturb=climb)
    state = inner_loop.init(SURE, recipe, KEY)
    start = state.params["weight"] - DATA.target
    after, loss = inner_loop.step(SURE, recipe, state, DATA, KEY)
    weight = state.params["weight"]
    expected = weight - 0.1 * (1.5 * start + 2.0 * weight)
    np.testing.assert_allclose(after.params["weight"], expected, rtol=1e-5)
    assert float(loss) == pytest.approx(0.5 * 2.25 * float(start @ start), rel=1e-5)


def test_the_gradient_is_with_respect_to_the_weights_before_the_perturbation():
    """Under w -> 3 w the slope of ½ (3 w - target)² in w is 3 (3 w - target)."""
    recipe = Recipe(optax.sgd(0.1), perturb=lambda params, *_: optax.tree.scale(3.0, params))
    state = inner_loop.init(SURE, recipe, KEY)
    weight = state.params["weight"]
    after, _ = inner_loop.step(SURE, recipe, state, DATA, KEY)
    expected = weight - 0.1 * 3.0 * (3.0 * weight - DATA.target)
    np.testing.assert_allclose(after.params["weight"], expected, rtol=1e-5)


def test_a_perturbation_sees_the_batch_of_its_step():
    """Catches a gradient function that draws a batch of its own."""

    def to_minimum(params, grads_fn, _key):
        return jax.tree.map(jnp.subtract, params, grads_fn(params))

    recipe = Recipe(optax.sgd(0.1), perturb=to_minimum)
    state = inner_loop.init(TASK, recipe, KEY)
    _, loss = inner_loop.step(TASK, recipe, state, DATA, KEY)
    # The minimum of the noisy quadratic of this step, and of no other.
    assert float(loss) == pytest.approx(0.0, abs=1e-9)


def averaging(learning_rate):
    """Gradient descent that also keeps the sum of all weights it has reached."""

    def start(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(updates, state, params=None):
        moves = jax.tree.map(lambda grad: -learning_rate * grad, updates)
        return moves, jax.tree.map(lambda s, p, m: s + p + m, state, params, moves)

    return Recipe(
        optax.GradientTransformation(start, update),
        answer=lambda _params, state: jax.tree.map(lambda leaf: leaf / 10, state),
    )


def test_the_answer_of_a_recipe_is_what_is_judged(stepped):
    """Iterate averaging: the mean of the weights after each step, while training goes on below."""
    states, losses, _ = stepped
    run = train(averaging(0.1))
    mean = np.mean([state.params["weight"] for state in states], axis=0)
    np.testing.assert_allclose(run.params["weight"], mean, rtol=1e-4)
    np.testing.assert_allclose(run.losses, losses, rtol=1e-5)
    judged = TASK.meta_loss({"weight": jnp.array(mean)}, DATA, KEY)
    last = float(score(averaging(0.1), Window(last_share=0.1)))
    assert last == pytest.approx(float(judged), rel=1e-4)


def test_a_regularized_recipe_descends_the_regularized_loss_of_the_same_batch(stepped):
    """Catches a batch drawn anew, and a regularization that does not reach the task."""

    def regularized_loss(params, data, regularization, key):
        return regularization.label_smoothing * TASK.loss(params, data, key)

    task = TASK._replace(regularized_loss=regularized_loss)
    recipe = SGD._replace(regularization=Regularization(label_smoothing=1.0))
    np.testing.assert_allclose(train(recipe, task=task).losses, stepped[1], rtol=1e-5)
    still = recipe._replace(regularization=Regularization(label_smoothing=0.0))
    assert float(jnp.abs(train(still, task=task).losses).max()) == 0.0


def test_a_regularized_recipe_needs_a_task_that_knows_it():
    recipe = SGD._replace(regularization=Regularization(dropout=0.5))
    with pytest.raises(ValueError, match="needs a task with a regularized_loss, got one without"):
        train(recipe)

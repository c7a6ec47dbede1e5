"""Training under changes of the first layer: what is kept, what is shown, which way it goes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof import inner_loop
from noiseproof.layouts.layout import layout_of
from noiseproof.metatrain import Objective, flattened, recipe_of
from noiseproof.models import convnet, mlp
from noiseproof.optimizers import structured
from noiseproof.optimizers.augmented import INITIAL_STRENGTHS, answer, strengths_at
from noiseproof.optimizers.weight_space import Strengths, weight_space_augmentation
from noiseproof.tasks.image_classification import TaskData, image_classification
from noiseproof.tasks.mixtures import Component, clean
from noiseproof.tasks.outer_losses import mixture
from noiseproof.types import Batch, Model, Optimizer, Params, Theta

SHAPE = (6, 5, 1)
NUM_STEPS = 40
MODELS = {
    "mlp": partial(mlp, hidden_sizes=(7,)),
    "convnet": partial(convnet, channels=(4, 5)),
}
IMAGES = jax.random.normal(jax.random.key(1), (8, *SHAPE))
LABELS = jnp.arange(8) % 3
RULE = structured(augments=True)
OFF = {**RULE.init(jax.random.key(0)), "changes": jnp.full((5, 4), -10.0)}


def loss(model: Model, params: Params) -> jax.Array:
    logits = model.apply(params, IMAGES)
    return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()


def start(name: str) -> tuple[Model, Params]:
    model = MODELS[name](image_shape=SHAPE, num_classes=3)
    return model, model.init(jax.random.key(2))


def optimizer_of(theta: Theta, params: Params, *, augments: bool = True) -> Optimizer:
    rule = RULE if augments else structured()
    return rule.optimizer(theta, NUM_STEPS, layout_of(params, SHAPE))


def trained(
    model: Model, params: Params, optimizer: Optimizer, num_steps: int
) -> tuple[Params, tuple]:
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(partial(loss, model))(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(num_steps):
        params, state = step(params, state)
    return params, state


@pytest.mark.parametrize("name", MODELS)
def test_without_changes_it_is_the_rule(name: str) -> None:
    model, params = start(name)
    plain = {part: table for part, table in OFF.items() if part != "changes"}
    expected, _ = trained(model, params, optimizer_of(plain, params, augments=False), 5)
    shown, state = trained(model, params, optimizer_of(OFF, params), 5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), shown, expected)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), answer(shown, state), expected)


@pytest.mark.parametrize("name", MODELS)
def test_it_descends_the_loss_of_changed_images(name: str) -> None:
    """Its slow twin: the rule alone, on gradients taken through the change. Catches a gradient that
    is taken where the weights are changed, but applied as if they were not: then the classifier
    never learns from the image that it was shown."""
    model, params = start(name)
    theta = RULE.init(jax.random.key(0))
    layout = layout_of(params, SHAPE)
    plain = {part: table for part, table in theta.items() if part != "changes"}
    rule, optimizer = optimizer_of(plain, params, augments=False), optimizer_of(theta, params)
    weights, rule_state, state = params, rule.init(params), optimizer.init(params)
    rule_update, update = jax.jit(rule.update), jax.jit(optimizer.update)
    shown = params
    for at in range(4):

        def shown_of(weights: Params, at: int = at, seed: jax.Array = state.seed) -> Params:
            if at == 0:
                return weights
            key = jax.random.fold_in(jax.random.key(seed), at)
            strengths = strengths_at(theta["changes"], jnp.float32(at / NUM_STEPS))
            return weight_space_augmentation(strengths, layout)(weights, lambda same: same, key)

        def shown_loss(weights: Params, shown_of=shown_of) -> jax.Array:
            return loss(model, shown_of(weights))

        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), shown, shown_of(weights))
        updates, rule_state = rule_update(jax.grad(shown_loss)(weights), rule_state, weights)
        weights = optax.apply_updates(weights, updates)
        grads = jax.grad(partial(loss, model))(shown)
        updates, state = update(grads, state, shown)
        shown = optax.apply_updates(shown, updates)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), answer(shown, state), weights)
    first = jax.tree.leaves(jax.tree.map(lambda a, b: float(abs(a - b).max()), shown, weights))
    # The first layer's bias and weight are shown changed, all else as it is.
    assert [value > 1e-4 for value in first] == [True, True, *[False] * (len(first) - 2)]


def test_meta_training_judges_what_is_kept() -> None:
    """Catches a meta-loss of changed weights, in meta-training and in an evaluation."""
    model, params = start("mlp")
    data = Batch(jnp.zeros((9, *SHAPE), jnp.uint8), jnp.zeros(9, jnp.int32))
    task = image_classification(
        model, batch_size=2, outer_batch_size=2, outer_loss=mixture(Component(1.0, clean))
    )
    flat, _ = flattened(Objective(task, RULE, layout_of(params, SHAPE), num_steps=10))
    recipe = recipe_of(flat, flat.learned.init(jax.random.key(0)))
    assert recipe.answer is answer
    run = inner_loop.train(task, recipe, TaskData(data, data), 4, jax.random.key(1))
    shown, _ = inner_loop.advance(
        *(task, recipe, inner_loop.init(task, recipe, jax.random.key(1)), TaskData(data, data)),
        *(4, jax.random.key(1)),
    )
    kept = shown.optimizer_state.kept[0]
    jax.tree.map(np.testing.assert_array_equal, run.params[0], kept)
    assert float(jnp.abs(shown.params[0]["weight"] - kept["weight"]).max()) > 1e-4


def test_strengths_are_logarithms_and_no_blur_is_stronger_than_the_mean() -> None:
    theta = jnp.zeros((5, 2)).at[Strengths._fields.index("blur"), 1].set(10.0)
    found = strengths_at(theta, jnp.float32(1.0))
    assert found.contrast == pytest.approx(INITIAL_STRENGTHS.contrast)
    assert found.blur == 1.0


def test_classifiers_of_other_weights_see_other_changes() -> None:
    """Catches one sequence of changes for all seeds of an evaluation."""
    model = MODELS["mlp"](image_shape=SHAPE, num_classes=3)
    params = [model.init(jax.random.key(seed)) for seed in range(3)]
    seeds = {int(optimizer_of(OFF, one).init(one).seed) for one in params}
    assert len(seeds) == 3

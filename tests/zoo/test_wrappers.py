"""A shipped optimizer inside optax's wrappers and in the loops of users."""

import functools
import warnings

import equinox as eqx
import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from flax import nnx

import noiseproof
from noiseproof.models import mlp
from noiseproof.zoo import load

NAME = "spectral-fashion-convnet"
IMAGE_SHAPE = (4, 4, 1)
MODEL = mlp(image_shape=IMAGE_SHAPE, num_classes=3, hidden_sizes=(4,))
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
LAYOUT = noiseproof.layout_of(PARAMS, IMAGE_SHAPE)
GRADS = jax.tree.map(
    lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=jnp.float32)).reshape(leaf.shape), PARAMS
)

# Compiling takes most of these tests' time, and half of it is spent on speed they do not need.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

pytestmark = pytest.mark.filterwarnings("ignore:.*was meta-trained with")


@pytest.fixture(scope="module")
def optimizer():
    return load(NAME, num_steps=1000, layout=LAYOUT)


@pytest.fixture(scope="module")
def expected(optimizer):
    return one_step(optimizer)


def one_step(optimizer, params=PARAMS, grads=GRADS, **extra_args):
    def step(params, grads):
        return optimizer.update(grads, optimizer.init(params), params, **extra_args)[0]

    return jit(step)(params, grads)


def assert_same(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected
    )


def labels(first, rest):
    """A label for the first layer's tensors, and another for all others."""
    return [jax.tree.map(lambda _: first, PARAMS[0]), *jax.tree.map(lambda _: rest, PARAMS[1:])]


WRAPPERS = {
    "chain": lambda one: optax.chain(optax.clip_by_global_norm(0.5), one, optax.scale(1.0)),
    "multi steps": lambda one: optax.MultiSteps(one, 1),
    "apply if finite": lambda one: optax.apply_if_finite(one, 3),
    "extra arguments": lambda one: optax.with_extra_args_support(one),
    "inject": lambda _: optax.inject_hyperparams(load, static_args=("layout",))(
        NAME, num_steps=1000, layout=LAYOUT
    ),
    "masked": lambda one: optax.masked(one, True),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_a_wrapper_changes_no_step(optimizer, expected, wrap):
    assert_same(one_step(wrap(optimizer)), expected)


def test_layers_that_are_masked_out_are_layers_of_the_classifier():
    """Catches a head whose step depends on how many of the other layers are trained."""
    told = {"num_steps": 1000, "layout": LAYOUT, "steps_per_epoch": 10.0}
    whole = load("universal", **told)
    head = optax.masked(whole, labels(False, True))
    assert_same(one_step(head)[1:], one_step(whole)[1:])


def test_what_is_told_of_epochs_is_injected_too():
    """Catches steps of an epoch that are checked as a number where they are an array or traced."""
    told = {"num_steps": 1000, "layout": LAYOUT, "steps_per_epoch": 10.0}
    injected = optax.inject_hyperparams(load, static_args=("layout",))("universal", **told)
    assert_same(one_step(injected), one_step(load("universal", **told)))


def test_a_wrapper_does_its_own_part(optimizer, expected):
    """Catches a state that takes note of gradients that were passed over or only added up."""
    nothing = jax.tree.map(jnp.zeros_like, PARAMS)
    spoiled = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), GRADS)
    guarded, summed = optax.apply_if_finite(optimizer, 3), optax.MultiSteps(optimizer, 2)

    @jit
    def steps():
        passed_over, state = guarded.update(spoiled, guarded.init(PARAMS), PARAMS)
        after, _ = guarded.update(GRADS, state, PARAMS)
        half, state = summed.update(nothing, summed.init(PARAMS), PARAMS)
        twice = jax.tree.map(lambda leaf: 2 * leaf, GRADS)
        return passed_over, after, half, summed.update(twice, state, PARAMS)[0]

    passed_over, after, half, whole = steps()
    assert_same((passed_over, half), (nothing, nothing))
    assert_same((after, whole), (expected, expected))


def test_extra_arguments_are_ignored(optimizer, expected):
    assert_same(one_step(optimizer, value=1.0, grad=GRADS), expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one: optax.masked(one, labels(False, True)),
        lambda one: optax.partition(
            {"learned": one, "frozen": optax.set_to_zero()},
            labels("frozen", "learned"),
        ),
        lambda one: optax.multi_transform(
            {"learned": one, "frozen": optax.adam(1e-3)}, labels("frozen", "learned")
        ),
    ],
    ids=["masked", "partition", "multi transform"],
)
def test_frozen_tensors_need_no_role(optimizer, expected, wrap):
    """Catches a layout that has to be cut by hand."""
    assert_same(one_step(wrap(optimizer))[1:], expected[1:])


def test_averages_of_iterates_run(optimizer):
    free = optax.contrib.schedule_free(optimizer, learning_rate=1.0, b1=0.9)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(one_step(free)))
    pair = optax.LookaheadParams.init_synced(PARAMS)
    ahead = optax.lookahead(optimizer, 5, 0.5)
    updates, _ = jit(ahead.update)(GRADS, ahead.init(pair), pair)
    assert jax.tree.structure(updates.fast) == jax.tree.structure(PARAMS)


def test_flatten_is_refused_in_one_line(optimizer):
    with pytest.raises(ValueError, match=r"no role for .*leave out optax\.flatten"):
        one_step(optax.flatten(optimizer))


def test_state_of_the_params_is_mapped(optimizer):
    """Catches averages that wrappers and shardings can not find."""
    state = optax.tree.map_params(optimizer, lambda leaf: leaf + 1, optimizer.init(PARAMS))
    found = optax.tree.get_all_with_path(state, "mu") + optax.tree.get_all_with_path(state, "nu")
    assert len(found) == 2
    for _, tree in found:
        assert all(bool((leaf == 1).all()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_of_updates_alone(optimizer, dtype):
    params, grads = (optax.tree.cast(tree, dtype) for tree in (PARAMS, GRADS))
    updates = one_step(optimizer, params, grads)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
    state = optimizer.init(params)
    floats = [
        leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    assert set(floats) == {jnp.dtype(jnp.float32)}
    in_full = one_step(optimizer, *(optax.tree.cast(tree, jnp.float32) for tree in (params, grads)))
    jax.tree.map(np.testing.assert_array_equal, updates, optax.tree.cast(in_full, dtype))


def test_past_its_run_it_keeps_its_last_rate(optimizer):
    """Catches a cosine that turns back."""
    state = optimizer.init(PARAMS)

    @jit
    def at(step):
        return optimizer.update(GRADS, state._replace(step=step), PARAMS)[0]

    ends = [at(jnp.int32(step)) for step in (1000, 1700)]
    assert_same(*ends)


def test_containers_of_the_same_names_fit(optimizer, expected):
    params, grads, layout = ({"net": tree} for tree in (PARAMS, GRADS, LAYOUT))
    frozen = flax.core.freeze(params)
    found = one_step(load(NAME, num_steps=1000, layout=layout), frozen, flax.core.freeze(grads))
    assert isinstance(found, flax.core.FrozenDict)
    assert_same(found["net"], expected)


def test_a_state_of_nnx_and_its_plain_dict_fit_each_other():
    """Catches containers that are compared instead of the names in them."""
    state = nnx.state(nnx.Linear(16, 3, rngs=nnx.Rngs(0)), nnx.Param)
    ways = [state, nnx.as_pure(state), nnx.to_pure_dict(state)]
    for given in ways:
        start = load(NAME, num_steps=1000, layout=noiseproof.layout_of(given, IMAGE_SHAPE)).init
        for params in ways:
            assert jax.tree.leaves(jax.eval_shape(start, params))
    smaller = {"kernel": nnx.to_pure_dict(state)["kernel"]}
    with pytest.raises(ValueError, match="they have no tensor 'bias'") as refusal:
        start(smaller)
    assert len(str(refusal.value)) < 200


def test_what_is_no_weight_is_named(optimizer):
    module = eqx.nn.MLP(16, 3, 4, 1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"'activation' must be a tensor of floats, got .*filter"):
        load(NAME, num_steps=1000, layout=LAYOUT).init(module)
    with pytest.raises(ValueError, match="differ at '1/bias'"):
        optimizer.update(
            [*GRADS[:1], {"weight": GRADS[1]["weight"]}], optimizer.init(PARAMS), PARAMS
        )
    variables = {"params": {"kernel": jnp.ones((16, 3))}, "batch_stats": {"mean": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"params hold batch_stats.*variables\['params'\]"):
        noiseproof.layout_of(variables, IMAGE_SHAPE)


@pytest.mark.parametrize("num_steps", [10, 1000])
def test_what_is_far_from_meta_training_is_said(num_steps):
    """The card's runs are of 1000 steps, its classifier is of 7,178 weights, ours of 83."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load(NAME, num_steps=num_steps, layout=LAYOUT).init(PARAMS)
    texts = [str(one.message) for one in said]
    assert any("1,000 steps, which is far from 10;" in text for text in texts) == (num_steps == 10)
    assert any("weights, which is far from" in text for text in texts)


@pytest.mark.parametrize(("num_steps", "is_far"), [(40, False), (40_000, False), (40_001, True)])
def test_of_several_tasks_all_sizes_count(num_steps, is_far):
    """Catches a warning in a run like those of a task, of 400 to 4,000 steps."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load("universal", num_steps=num_steps, layout=LAYOUT, steps_per_epoch=10)
    expected = f"400 to 4,000 steps, which is far from {num_steps:,};"
    assert any(expected in str(one.message) for one in said) == is_far


def test_a_card_says_its_limits():
    assert noiseproof.card(NAME)["limits"]

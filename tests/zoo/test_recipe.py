"""Learned optimizers that judge other weights than they train."""

from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

import noiseproof
from noiseproof.checkpoint import save_theta
from noiseproof.optimizers import structured
from noiseproof.zoo.cards import Card, needs

PARAMS = [
    {"weight": jnp.ones((16, 4)) / 4, "bias": jnp.zeros(4)},
    {"weight": jnp.ones((4, 3)) / 2, "bias": jnp.zeros(3)},
]
LAYOUT = noiseproof.layout_of(PARAMS, (4, 4, 1))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    theta = structured(augments=True).init(jax.random.key(0))
    save_theta(tmp_path, theta, {"rule": "structured", "options": {"augments": True}})
    return tmp_path


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_its_answer_differs_in_the_first_layer_alone(saved: Path, dtype: jnp.dtype) -> None:
    """Catches changed weights that are judged, and weights of another precision."""
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    recipe = noiseproof.recipe(saved, num_steps=100, layout=LAYOUT)
    state = recipe.optimizer.init(params)
    for _ in range(3):
        updates, state = recipe.optimizer.update(params, state, params)
        params = optax.apply_updates(params, updates)
    weights = recipe.answer(params, state)
    far = jax.tree.map(lambda new, old: float(jnp.abs(new - old).max()), weights, params)
    assert far[0]["weight"] > 1e-3
    assert far[0]["bias"] > 1e-3
    assert far[1] == {"weight": 0.0, "bias": 0.0}
    assert {leaf.dtype for leaf in jax.tree.leaves(weights)} == {jnp.dtype(dtype)}


def test_as_a_transformation_alone_it_is_refused_in_one_line(saved: Path) -> None:
    """Catches a user who judges changed weights without knowing."""
    with pytest.raises(ValueError, match=r"take noiseproof\.recipe\('.*', \.\.\.\)") as raised:
        noiseproof.load(saved, num_steps=100, layout=LAYOUT)
    assert "\n" not in str(raised.value)
    assert "answer" in needs(noiseproof.card(saved).content)


def test_others_train_what_is_judged() -> None:
    recipe = noiseproof.recipe("universal", num_steps=1000, layout=LAYOUT)
    state = recipe.optimizer.init(PARAMS)
    assert recipe.answer(PARAMS, state) is PARAMS
    assert "no average of weights" in str(Card("it", noiseproof.card("universal").content))


def test_the_port_to_pytorch_refuses_it_in_one_line(saved: Path) -> None:
    pytest.importorskip("torch")
    from noiseproof.torch.theta import load_theta

    with pytest.raises(ValueError, match=r"changes the first layer while it is trained"):
        load_theta(saved)


def test_it_is_explained(saved: Path) -> None:
    text = str(noiseproof.explain(saved))
    assert "changes of the first layer" in text
    assert "motion" in text

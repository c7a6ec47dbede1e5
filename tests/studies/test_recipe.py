"""Six constants as a rule, and as a program that is printed."""

import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noiseproof.optimizers.structured import rates_at
from noiseproof.studies import recipe
from noiseproof.studies.ablation import used_rows
from noiseproof.studies.rule import explain

KEY = jax.random.key(4)
VALUES = {
    "learning_rate": 0.02,
    "share": 0.7,
    "decay": 0.3,
    "band_decay": 0.5,
    "mean_decay": 2.0,
    "bias_decay": 0.9,
}


def test_constants_are_the_rates_of_a_theta() -> None:
    """Catches a constant in another's place, and pulls on filters that have none."""
    rates = rates_at(recipe.theta_of(VALUES), jnp.float32(0.5))
    np.testing.assert_allclose(rates["step"], 0.5 * VALUES["learning_rate"], rtol=1e-5)
    np.testing.assert_allclose(rates["orthogonal"], VALUES["share"], rtol=1e-5)
    np.testing.assert_allclose(rates["decay"], [0.3, 0.3, 0.3, 0.9, 0.9], rtol=1e-5)
    np.testing.assert_allclose(rates["bands"], [[0.5] * 3, [0.0] * 3], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(rates["mean"], [2.0, 0.0], rtol=1e-5, atol=1e-9)


def test_what_is_fitted_to_constants_is_they(small: Any) -> None:
    used = used_rows(small.layout, small.model.init(KEY))
    found = recipe.fitted(explain(recipe.theta_of(VALUES)), used)
    assert found == pytest.approx(VALUES, rel=1e-4)
    knobs = recipe.distilled(found).knobs
    assert set(knobs) == set(recipe.CONSTANTS)


def test_the_printed_program_makes_the_same_steps(small: Any, tmp_path: Path) -> None:
    """Catches a program that says another rule than the one whose gain was measured."""
    text = recipe.as_optax(VALUES)
    assert len(text.splitlines()) <= 20
    assert max(map(len, text.splitlines())) <= 100
    script = tmp_path / "program.py"
    script.write_text(text, "utf-8")
    params = small.model.init(KEY)
    first = jax.tree_util.keystr(jax.tree_util.tree_flatten_with_path(params)[0][1][0])
    assert first == "[0]['weight']"
    printed = runpy.run_path(str(script))["distilled"](30, first)
    ours = recipe.distilled_recipe(VALUES, 30, small.layout).optimizer
    results = []
    for optimizer in (printed, ours):

        @jax.jit
        def step(carried: Any, key: Any, optimizer: Any = optimizer) -> Any:
            grads = jax.grad(small.task.loss)(carried[0], small.data, key)
            updates, state = optimizer.update(grads, carried[1], carried[0])
            return optax.apply_updates(carried[0], updates), state

        carried = params, optimizer.init(params)
        for key in jax.random.split(KEY, 30):
            carried = step(carried, key)
        results.append(carried[0])
    for one, two, start in zip(*map(jax.tree.leaves, (*results, params)), strict=True):
        assert float(jnp.abs(one - start).max()) > 1e-2
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=2e-4)

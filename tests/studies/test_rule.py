"""A rule as curves and as an equation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noiseproof as npf
from noiseproof.optimizers.universal import THEORY, no_exponents
from noiseproof.studies.rule import POINTS_BETWEEN, explain
from noiseproof.types import TensorRole
from noiseproof.zoo import load_learned

KEY = jax.random.key(0)


def some_theta() -> Any:
    zeros = npf.structured().init(KEY)
    return jax.tree.map(lambda leaf: 0.1 * jax.random.normal(KEY, leaf.shape), zeros)


def test_a_curve_is_the_rate_that_the_rule_takes() -> None:
    """Catches rows of another kind, a wrong unit, and time that runs otherwise than in the rule.

    Without a gradient a tensor moves by minus its step times its decay times itself.
    """
    theta, num_steps = some_theta(), 60
    layout = {"bias": TensorRole("bias", (), 0.5), "norm": TensorRole("norm", (), 0.5)}
    optimizer = npf.structured().optimizer(theta, num_steps, layout)
    params = {"bias": jnp.ones(2), "norm": jnp.ones(2)}
    state = optimizer.init(params)
    found = explain(theta)
    for step in (0, 20, 37):
        updates, _ = optimizer.update(
            jax.tree.map(jnp.zeros_like, params), state._replace(step=jnp.int32(step)), params
        )
        place = step * (len(found.fractions) - 1) // num_steps
        assert found.fractions[place] == pytest.approx(step / num_steps)
        for row, name in ((3, "bias"), (4, "norm")):
            rate = found.curves["step"][0, row, place] * found.curves["decay"][0, row, place]
            np.testing.assert_allclose(updates[name], -rate, rtol=1e-4)


def test_numbers_at_knots_and_their_spread_are_printed() -> None:
    theta, start = some_theta(), npf.structured().init(KEY)
    found = npf.explain(theta, start)
    assert found.at_knots("step").shape == (2, 5, 4)
    np.testing.assert_array_equal(found.at_knots("mean")[1], 1.0)
    line = next(line for line in str(found).splitlines() if line.startswith("  first filters  "))
    own = found.at_knots("mean")[0, 0]
    for number in own:
        assert f"{number:.3g} ({min(number, 1):.3g} to {max(number, 1):.3g})" in line
    assert len(found.fractions) == 3 * POINTS_BETWEEN + 1


def test_a_shipped_rule_is_explained_by_its_name() -> None:
    text = str(npf.explain("spectral-fashion-mlp"))
    loaded = load_learned("spectral-fashion-mlp")
    assert str(npf.explain(loaded)).splitlines()[1:] == text.splitlines()[1:]
    assert text.startswith("spectral-fashion-mlp, of the rule structured\nW <- W - s [")
    assert max(map(len, text.splitlines())) <= 100


def test_exponents_of_universal_start_at_theory() -> None:
    found = explain({**some_theta(), **no_exponents()})
    np.testing.assert_array_equal(found.exponents["adam_fans"][0], np.array(THEORY["adam"]))
    assert (found.exponents["decay_fans"] == 0).all()
    assert "exponents of fan in" in str(found)


def test_what_has_no_rates_is_refused_in_a_line() -> None:
    other = npf.nominal_mlp().init(KEY)
    with pytest.raises(ValueError, match="are thetas of structured and universal"):
        explain(other)
    with pytest.raises(ValueError, match="must be of one rule with as many knots"):
        explain(some_theta(), npf.structured(num_knots=3).init(KEY))
    with pytest.raises(ValueError, match="needs a theta"):
        explain()
    with pytest.raises(ValueError, match="There is no learned optimizer 'nobody'"):
        explain("nobody")

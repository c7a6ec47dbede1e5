"""Where the meta-training of one rule on many tasks begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noiseproof.experiment.mean_start import kinds_met, mean_start
from noiseproof.kinds import KINDS
from noiseproof.metatrain import Objective, flattened
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.zoo.loading import load_learned

PERCEPTRON, CONVNET = "spectral-fashion-mlp", "spectral-fashion-convnet"
KEY = jax.random.key(0)
HIDDEN, NORM, FIRST = (KINDS.index(kind) for kind in ("hidden", "norm", "first"))


def started(names, rule, **options):
    return mean_start(names, rule, LEARNED_OPTIMIZERS[rule](**options).init(KEY))


def test_what_a_perceptron_never_met_does_not_count() -> None:
    """Catches a mean with numbers that chance alone has moved."""
    assert kinds_met(load_learned(PERCEPTRON).card) == {"first", "readout", "bias"}
    assert kinds_met(load_learned(CONVNET).card) == {"first", "hidden", "readout", "bias"}
    assert kinds_met(load_learned("universal").card) == set(KINDS)  # of many tasks
    both, own = started([PERCEPTRON, CONVNET], "universal"), load_learned(CONVNET).theta
    other = load_learned(PERCEPTRON).theta
    for table in ("step", "decay"):
        np.testing.assert_allclose(both[table][HIDDEN], own[table][HIDDEN], rtol=1e-6)
        mean = (own[table][FIRST] + other[table][FIRST]) / 2
        np.testing.assert_allclose(both[table][FIRST], mean, rtol=1e-6)
        assert not both[table][NORM].any()
    np.testing.assert_allclose(both["bands"][1], own["bands"][1], rtol=1e-6)
    assert not both["adam_fans"].any()


def test_one_of_the_rule_itself_is_where_it_begins() -> None:
    alone, own = started([CONVNET], "structured"), load_learned(CONVNET).theta
    np.testing.assert_allclose(alone["decay"][HIDDEN], own["decay"][HIDDEN], rtol=1e-6)


def test_exponents_that_it_lacks_are_fresh() -> None:
    found, own = started([CONVNET], "universal", counts_epochs=True), load_learned(CONVNET).theta
    assert not any(found[table].any() for table in ("decay_epochs", "decay_fans", "step_sizes"))
    np.testing.assert_allclose(found["decay"][HIDDEN], own["decay"][HIDDEN], rtol=1e-6)


def test_of_another_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="is of the rule structured, and mlp is wanted"):
        started([CONVNET], "mlp")


def test_a_vector_counts_directions_from_the_start() -> None:
    """Catches a start that is left out, and directions that are transposed."""
    rule = LEARNED_OPTIMIZERS["structured"]()
    objective = Objective(None, rule, None, num_steps=1)
    start = jax.tree.map(lambda leaf: leaf + 1.0, rule.init(jax.random.key(0)))
    size = sum(leaf.size for leaf in jax.tree.leaves(start))
    directions = np.zeros((size, 2), np.float32)
    directions[0, 0], directions[-1, 1] = 1.0, 2.0
    flat, theta_of = flattened(objective, start, jnp.asarray(directions))
    assert not flat.learned.init(jax.random.key(0)).any()
    moved = jax.tree.leaves(theta_of(jnp.array([10.0, 100.0])))
    assert (float(moved[0].ravel()[0]), float(moved[-1].ravel()[-1])) == (11.0, 201.0)
    assert float(moved[0].ravel()[1]) == 1.0
    with pytest.raises(ValueError, match=f"directions must have {size} rows, got 3"):
        flattened(objective, start, jnp.asarray(directions[:3]))
    with pytest.raises(ValueError, match="The start must be a theta of the rule"):
        flattened(objective, {"step": start["step"]})

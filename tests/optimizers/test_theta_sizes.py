"""How many meta-parameters each rule has, counted by hand."""

import jax
import pytest

from noiseproof.optimizers import LEARNED_OPTIMIZERS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", 19 * 32 + 32 + 32 * 32 + 32 + 32 * 2 + 2),  # 1,762
        ("adafac_mlp", 39 * 4 + 4 + 4 * 4 + 4 + 4 * 2 + 2 + 7),  # 197, seven of them decays
        # Three rates by kind of tensor, three bands and a mean by layer; four knots each. 92.
        ("structured", 4 * (5 + 5 + 5 + 2 * 3 + 2)),
        ("nominal_mlp", 13 * 16 + 16 + 16 * 2 + 2 + 2),  # 260, two of them step and decay
    ],
)
def test_number_of_meta_parameters(name, expected):
    theta = jax.eval_shape(LEARNED_OPTIMIZERS[name]().init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(theta)) == expected

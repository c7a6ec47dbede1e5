"""Groups of theta's numbers: what moves with what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from noiseproof.kinds import KINDS
from noiseproof.optimizers import structured, universal
from noiseproof.optimizers.groups import as_matrix, groups

THETA = universal().init(jax.random.key(0))
ROWS = {kind: index for index, kind in enumerate(KINDS)}


def moved(name: str) -> dict[str, np.ndarray]:
    """What a direction adds to every table."""
    unflatten = ravel_pytree(THETA)[1]
    return jax.tree.map(np.asarray, unflatten(jnp.asarray(groups(THETA)[name])))


def test_a_group_moves_its_rows_over_the_whole_run_and_nothing_else() -> None:
    """Catches rows of another kind, a table that moves along, and one knot for all."""
    for name, table, rows in [
        ("step hidden", "step", ["hidden"]),
        ("decay vectors", "decay", ["bias", "norm"]),
        ("orthogonal readout", "orthogonal", ["readout"]),
    ]:
        found = moved(name)
        expected = np.zeros((len(KINDS), 4))
        expected[[ROWS[row] for row in rows]] = 1.0
        np.testing.assert_array_equal(found.pop(table), expected)
        assert not any(values.any() for values in found.values())
    later = np.zeros((2, 3, 4))
    later[1] = 1.0
    np.testing.assert_array_equal(moved("bands later")["bands"], later)


def test_a_slope_and_an_exponent_are_of_all_kinds() -> None:
    slope = np.broadcast_to([-1.0, -1 / 3, 1 / 3, 1.0], (len(KINDS), 4))
    np.testing.assert_allclose(moved("decay over the run")["decay"], slope, rtol=1e-6)
    np.testing.assert_array_equal(moved("pull_sizes steps")["pull_sizes"], [[1.0, 0.0]] * 2)


def test_an_exponent_of_fans_is_of_its_kind_alone() -> None:
    """Catches the image's pixels moved with the width, columns that are swapped, and rows of the
    vectors, which a table of matrices lacks."""
    found = {name: moved(name) for name in groups(THETA) if "_fans" in name}
    expected = np.zeros((5, 2))
    expected[ROWS["first"], 0] = 1.0
    np.testing.assert_array_equal(found["adam_fans fan_in first"]["adam_fans"], expected)
    expected = np.zeros((5, 2))
    expected[[ROWS["bias"], ROWS["norm"]], 1] = 1.0
    np.testing.assert_array_equal(found["decay_fans fan_out vectors"]["decay_fans"], expected)
    assert sorted(name for name in found if name.startswith("orthogonal")) == [
        f"orthogonal_fans fan_in {kind}" for kind in ("first", "hidden", "readout")
    ] + [f"orthogonal_fans fan_out {kind}" for kind in ("first", "hidden")]


def test_each_change_of_the_image_moves_alone() -> None:
    """Catches changes that are taken for kinds of tensors, of which there are as many."""
    theta = structured(augments=True).init(jax.random.key(0))
    found = ravel_pytree(theta)[1](jnp.asarray(groups(theta)["changes motion"]))["changes"]
    np.testing.assert_array_equal(found, np.eye(5)[4][:, None] * np.ones((5, 4)))


def test_no_direction_is_made_of_others() -> None:
    """Directions that depend on each other would be a step twice as long along what they share."""
    rules = {
        20: structured(),
        26: structured(augments=True),
        43: universal(),
        46: universal(counts_epochs=True),
    }
    for number, rule in rules.items():
        matrix = as_matrix(rule.init(jax.random.key(0)))
        assert matrix.shape[1] == number
        assert np.linalg.matrix_rank(matrix) == number


def test_another_rule_has_no_groups() -> None:
    with pytest.raises(ValueError, match="Only thetas of structured and universal have groups"):
        groups({"hidden": jnp.zeros(3)})

"""Directions in theta that move many of its numbers together.

A rule that is meta-trained on many tasks meets few runs of each, and a random change of a hundred
numbers tells little of any one. Most of what tasks have in common is coarser: that all matrices
should decay less, or long runs more. Each direction here moves one such thing, so that a perturbed
theta differs in a few dozen ways instead of in all; what lies between is left as it is.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from noiseproof.kinds import KINDS, MATRICES
from noiseproof.optimizers.augmented import TABLE
from noiseproof.optimizers.weight_space import Strengths
from noiseproof.types import Theta

VECTORS = tuple(kind for kind in KINDS if kind not in MATRICES)
SETS = {kind: (kind,) for kind in MATRICES} | {"vectors": VECTORS}
"""Kinds of tensors that move together."""

LAYERS = ("first", "later")
"""Rows of the tables that pull on filters."""

COLUMNS = {"sizes": ("steps", "layers"), "epochs": ("epochs",)}
"""Of the tables of exponents that all kinds share, by how their names end."""

FANS = {
    "fan_in": ("first", "hidden", "readout"),
    "fan_out": ("first", "hidden", "vectors"),
}
"""Of the tables of exponents of fans, sets that move by themselves: a first layer's fan in is the
image's, and ten times as large in a perceptron as in a convnet. A readout's fan out, the classes,
and a vector's fan in hardly differ among classifiers, so that they stay where they are."""


def groups(theta: Theta) -> dict[str, Float[np.ndarray, " theta"]]:
    """The directions by name, each along the theta of `structured` or `universal` as a vector.

    A direction of rates moves a set of tensors over the whole run, or all of them from one end of
    the run to the other; one of exponents of fans moves a set of tensors, one of other exponents
    moves all kinds. One unit along it is one unit of every number that it moves.

    Args:
        theta: Of the rule, for its shapes.

    Raises:
        ValueError: It is of another rule.
    """
    known = {"step", "orthogonal", "decay", "bands", "mean"}
    if not isinstance(theta, dict) or not known <= set(theta):
        raise ValueError("Only thetas of structured and universal have groups.")
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), theta)
    found = {}
    for table, values in zeros.items():
        for name, moved in parts(table, values.shape):
            whole = dict(zeros)
            whole[table] = np.broadcast_to(moved, values.shape)
            found[f"{table} {name}"] = np.asarray(ravel_pytree(whole)[0])
    return found


def parts(table: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Float[np.ndarray, "..."]]]:
    """What of a table moves together, by name."""
    ending = table.split("_")[-1]
    if ending in COLUMNS:
        for index, name in enumerate(COLUMNS[ending]):
            yield name, np.eye(shape[-1], dtype=np.float32)[index]
        return
    if ending == "fans":
        for index, (name, sets) in enumerate(FANS.items()):
            for which in sets:
                rows = np.isin(KINDS[: shape[0]], SETS[which])
                if rows.any():
                    yield f"{name} {which}", np.outer(rows, np.eye(2)[index]).astype(np.float32)
        return
    if table == TABLE:
        rows = {name: [index] for index, name in enumerate(Strengths._fields)}
    elif shape[0] == len(KINDS):
        # Vectors have no orthogonalized direction.
        kept = [name for name in SETS if table != "orthogonal" or name != "vectors"]
        rows = {name: [KINDS.index(kind) for kind in SETS[name]] for name in kept}
    else:
        rows = {name: [index] for index, name in enumerate(LAYERS)}
    for name, members in rows.items():
        chosen = np.isin(np.arange(shape[0]), members).astype(np.float32)
        yield name, chosen.reshape(-1, *(1,) * (len(shape) - 1))
    yield "over the run", np.linspace(-1.0, 1.0, shape[-1], dtype=np.float32)


def as_matrix(theta: Theta) -> Float[Array, "theta groups"]:
    """The directions of `groups` as columns."""
    return jnp.stack([jnp.asarray(column) for column in groups(theta).values()], axis=1)

"""What matters in a learned rule: theta with one group of its rates taken back.

Each group is set to its start, made constant over the run, shared over kinds of tensors, or
removed; all else stays as it was learned, so that a loss is what the group is good for beside the
others, not what it could do alone.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from noiseproof.kinds import KINDS, MATRICES
from noiseproof.layouts.layout import fit_layout
from noiseproof.optimizers.structured import known_kind
from noiseproof.studies.rule import OF_EPOCHS, SIZES
from noiseproof.types import Layout, Params, Theta

GONE = -10.0
"""In units of theta, of a rate's logarithm: times e^-100."""

LABELS = {
    "step": "step",
    "orthogonal": "orthogonalized share",
    "decay": "decay",
    "bands": "decays of bands",
    "mean": "decay of means",
}

WAYS = ("at its start", "constant", "shared", "removed")
"""What is done to a group: `constant` is over the run, `shared` over the kinds of tensors that a
classifier has (and over bands), both by the mean of the rates' logarithms."""


def taken_back(rates: Float[Array, "..."], way: str, used: Sequence[int]) -> Float[Array, "..."]:
    """The logarithms of a group's rates, of which these rows are used, after one of `WAYS`."""
    if way == "constant":
        return jnp.broadcast_to(rates.mean(axis=-1, keepdims=True), rates.shape)
    if way == "shared":
        own = rates[jnp.array(used)]
        return jnp.broadcast_to(own.mean(axis=tuple(range(rates.ndim - 1))), rates.shape)
    return jnp.full_like(rates, GONE if way == "removed" else 0.0)


def used_rows(layout: Layout, params: Params) -> dict[str, list[int]]:
    """The rows of each group of rates that a classifier's tensors take, where they take any."""
    tensors = list(zip(fit_layout(layout, params), jax.tree.leaves(params), strict=True))
    kinds = {known_kind(role, leaf.shape) for role, leaf in tensors if role.kind != "statistic"}
    layers = {
        int(known_kind(role, leaf.shape) != "first")
        for role, leaf in tensors
        if len(role.spatial_shape) == 3
    }
    rows = sorted(KINDS.index(kind) for kind in kinds)
    matrices = [row for row in rows if row < len(MATRICES)]
    found = {"step": rows, "orthogonal": matrices, "decay": rows}
    found |= dict.fromkeys(("bands", "mean"), sorted(layers))
    return {group: used for group, used in found.items() if used}


def ablated(theta: Theta, used: Mapping[str, Sequence[int]]) -> dict[str, Theta]:
    """Theta as it is, and with each group of its rates taken back in each way.

    A step that is removed trains nothing and is left out, and so is what changes nothing. Exponents
    of `universal` are set to their start, which is theory, together.

    Args:
        theta: Weights of `structured` or `universal`.
        used: Rows of each group that count, see `used_rows`.
    """
    found = {"as learned": theta}
    for group, rows in used.items():
        for way in WAYS:
            alone = way == "shared" and len(rows) == 1 and group != "bands"
            if not alone and (group, way) != ("step", "removed"):
                rates = taken_back(jnp.asarray(theta[group]), way, rows)
                found[f"{LABELS[group]} {way}"] = {**theta, group: rates}
    learned_sizes = {
        name: jnp.zeros_like(theta[name]) for name in (*SIZES, *OF_EPOCHS) if name in theta
    }
    return found | ({"exponents at theory": {**theta, **learned_sizes}} if learned_sizes else {})

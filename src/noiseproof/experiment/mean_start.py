"""Where the meta-training of one rule on many tasks begins: the mean of what others learned."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from noiseproof.kinds import KINDS
from noiseproof.layouts.layout import layout_of
from noiseproof.optimizers.augmented import TABLE
from noiseproof.optimizers.structured import known_kind
from noiseproof.types import TensorRole, Theta
from noiseproof.zoo.loading import load_learned, params_of


def mean_start(names: Sequence[str], rule: str, fresh: Theta) -> Theta:
    """The mean of learned optimizers, each where it was meta-trained.

    A rate that an optimizer's own classifier has no tensor for is moved by chance alone, so that it
    does not count; one that none of them has is as the rule starts, and so are exponents that they
    lack.

    Args:
        names: Shipped names, folders of runs, or `.safetensors` files.
        rule: Whose theta is wanted: that of all of them, or `"universal"` of `"structured"`.
        fresh: The theta that the rule starts from.

    Raises:
        ValueError: There is none, it is damaged, or of another rule.
    """
    thetas, met = [], []
    for name in names:
        found = load_learned(name)
        own = found.card["rule"]
        if own != rule and (own, rule) != ("structured", "universal"):
            raise ValueError(f"meta.start: {name} is of the rule {own}, and {rule} is wanted.")
        thetas.append({**fresh, **found.theta})
        met.append(kinds_met(found.card))

    def mean(path: Any, *leaves: Float[Array, "..."]) -> Float[Array, "..."]:
        table = path[0].key
        if table != TABLE and leaves[0].shape[0] == len(KINDS):
            known = [[float(kind in kinds) for kind in KINDS] for kinds in met]
        elif table in ("bands", "mean"):
            known = [["first" in kinds, "hidden" in kinds] for kinds in met]
        else:
            return jnp.stack(leaves).mean(axis=0)
        counts = jnp.array(known, jnp.float32)
        counts = counts.reshape(*counts.shape, *(1,) * (leaves[0].ndim - 1))
        return (counts * jnp.stack(leaves)).sum(axis=0) / jnp.maximum(counts.sum(axis=0), 1.0)

    return jax.tree_util.tree_map_with_path(mean, *thetas)


def kinds_met(card: dict[str, Any]) -> set[str]:
    """The kinds of tensors of the classifier that a card says; of one of several tasks any."""
    if card.get("tasks"):
        return set(KINDS)
    params = params_of(card["task"])
    roles = jax.tree.leaves(
        layout_of(params, tuple(card["task"]["image_shape"])),
        is_leaf=lambda x: isinstance(x, TensorRole),
    )
    pairs = zip(roles, jax.tree.leaves(params), strict=True)
    return {known_kind(role, leaf.shape) for role, leaf in pairs}

"""A learned rule as six constants: a hand-written rule that a person can carry away.

It is `structured` with every rate but the step constant over the run, the same for all weights, and
the same for all bands of a first layer's filters; the step is half a cosine. So it is a point of
the rule that it is distilled from, and what it loses is what kinds, bands and time are good for.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from noiseproof.kinds import KINDS, MATRICES
from noiseproof.optimizers.schedules import LOG_SCALE, SMALLEST, cosine
from noiseproof.optimizers.structured import INITIAL_RATES, NUM_BANDS, structured
from noiseproof.rivals import Rival
from noiseproof.rivals.knobs import LogUniform, Values
from noiseproof.studies.rule import Explanation
from noiseproof.types import Layout, Recipe, Theta

CONSTANTS = ("learning_rate", "share", "decay", "band_decay", "mean_decay", "bias_decay")
WIDTH = 8.0
"""A search goes this factor up and down from what is fitted."""

RULE = structured(num_knots=2)


def theta_of(values: Values) -> Theta:
    """The theta of `structured`, of two knots, that constants stand for; they may be traced."""

    def constant(value: float | Array, start: float, *shape: int) -> Array:
        logarithm = jnp.log(jnp.maximum(jnp.asarray(value, jnp.float32), 1e-30) / start)
        return jnp.broadcast_to(logarithm / LOG_SCALE, (*shape, 2))

    def first_alone(value: float | Array, start: float, *shape: int) -> Array:
        both = constant(value, start, *shape), constant(0.0, start, *shape)
        return jnp.stack(both)

    num_vectors = len(KINDS) - len(MATRICES)
    decays = [
        constant(values["decay"], INITIAL_RATES["decay"], len(MATRICES)),
        constant(values["bias_decay"], INITIAL_RATES["decay"], num_vectors),
    ]
    share = jnp.clip(jnp.asarray(values["share"], jnp.float32), 1e-6, 1.0 - 1e-6)
    return {
        "step": constant(values["learning_rate"], INITIAL_RATES["step"], len(KINDS)),
        "orthogonal": jnp.broadcast_to(jnp.log(share / (1.0 - share)) / LOG_SCALE, (len(KINDS), 2)),
        "decay": jnp.concatenate(decays),
        "bands": first_alone(values["band_decay"], INITIAL_RATES["bands"], NUM_BANDS),
        "mean": first_alone(values["mean_decay"], INITIAL_RATES["mean"]),
    }


def distilled_recipe(values: Values, num_steps: int, layout: Layout) -> Recipe:
    """The recipe of constants."""
    return Recipe(RULE.optimizer(theta_of(values), num_steps, layout))


def fitted(explained: Explanation, used: Mapping[str, list[int]]) -> dict[str, float]:
    """The constants nearest to a theta: geometric means of its rates over the run, by the step.

    Args:
        explained: Of the theta.
        used: Rows of each group that its classifiers take, see `ablation.used_rows`.
    """
    shrinkage = np.maximum(np.asarray(cosine(jnp.asarray(explained.fractions))), SMALLEST)
    curves = {group: explained.curves[group][0] for group in explained.curves}
    weights = shrinkage / shrinkage.sum()

    def mean(group: str, rows: list[int]) -> float:
        logarithms = np.log(np.maximum(curves[group][rows], 1e-30)).mean(axis=0)
        return float(np.exp((logarithms * weights).sum()))

    curves["step"] = curves["step"] / shrinkage
    matrices = [row for row in used["decay"] if row < len(MATRICES)]
    vectors = [row for row in used["decay"] if row >= len(MATRICES)]
    return {
        "learning_rate": mean("step", used["step"]),
        "share": mean("orthogonal", matrices),
        "decay": mean("decay", matrices),
        "band_decay": mean("bands", list(range(NUM_BANDS))),
        "mean_decay": mean("mean", [0]),
        "bias_decay": mean("decay", vectors or matrices),
    }


def distilled(start: Mapping[str, float]) -> Rival:
    """What is searched: the six constants, near those that were fitted."""
    knobs = {name: LogUniform(start[name] / WIDTH, start[name] * WIDTH) for name in CONSTANTS}
    share = min(max(start["share"], 0.05), 0.95)
    knobs["share"] = LogUniform(share / WIDTH, 0.99, most=0.99)
    return Rival(knobs, distilled_recipe)


def as_optax(values: Mapping[str, float]) -> str:
    """The rule as a program of twenty lines that needs JAX and optax alone."""
    numbers = ", ".join(f"{values[name]:.3g}" for name in CONSTANTS)
    return f"""\
import jax, jax.numpy as jnp, optax
LR, SHARE, DECAY, BANDS, MEAN, BIAS = {numbers}
def orthogonalized(m):  # all singular values about equal, root mean square 0.5
    x = m.reshape(-1, m.shape[-1]) / (jnp.linalg.norm(m) + 1e-30)
    for g in (x.T @ x for _ in range(5)):
        x = x @ (3.4445 * jnp.eye(len(g)) - 4.775 * g + 2.0315 * g @ g)
    return 0.5 * max(x.shape) ** 0.5 * x.reshape(m.shape)
def distilled(num_steps, first):  # first: jax.tree_util.keystr of the first layer's weight
    adam = optax.scale_by_adam()
    def update(grads, state, params):
        directions, new = adam.update(grads, state)
        cosine = 0.5 + 0.5 * jnp.cos(jnp.pi * jnp.minimum(state.count / num_steps, 1.0))
        def change(path, d, m, w):  # of a direction, a momentum and a weight, units last
            if w.ndim < 2: return d + BIAS * w
            mean = w.mean(axis=tuple(range(w.ndim - 1)), keepdims=True)
            pull = BANDS * (w - mean) + MEAN * mean if jax.tree_util.keystr(path) == first else 0
            return (1 - SHARE) * d + SHARE * orthogonalized(m) + DECAY * w + pull
        pulled = jax.tree_util.tree_map_with_path(change, directions, new.mu, params)
        return jax.tree.map(lambda p: -LR * jnp.maximum(cosine, {SMALLEST}) * p, pulled), new
    return optax.GradientTransformation(adam.init, update)
"""

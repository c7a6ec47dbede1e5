"""Hand-designed rivals: recipes with the ranges that their random search covers.

Every rival's learning rate follows a constant or a cosine schedule, which is a knob like any other;
so is, for what can be added to any optimizer, whether that is Adam or SGD with momentum. Ranges are
wide, so that the best point is not on an edge; `evaluate.tuning` warns where it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Scalar
from optax.contrib import MuonDimensionNumbers

from noiseproof.optimizers.schedules import cosine
from noiseproof.rivals.averaging import averaged
from noiseproof.rivals.decayed_adam import Decays, add_decays, decayed_adam
from noiseproof.rivals.knobs import Knobs, LogUniform, Switch, Values
from noiseproof.rivals.perturbations import (
    adaptive_sharpness_aware,
    one_after_another,
    sharpness_aware,
    weight_noise,
)
from noiseproof.types import Layout, Optimizer, Params, Recipe, Regularization

SGD_RATIO = 30.0
"""About how much larger good learning rates of SGD with momentum .9 are than Adam's."""


class Rival(NamedTuple):
    """A hand-designed way to train a classifier.

    Attributes:
        knobs: Range of each knob.
        recipe: `(values, num_steps, layout) -> Recipe`; values may be traced.
        num_trials: Points that its random search should try at least.
    """

    knobs: Knobs
    recipe: Callable[[Values, int, Layout], Recipe]
    num_trials: int = 32


def schedule(values: Values, num_steps: int) -> optax.Schedule:
    """The learning rate: constant, or a cosine to zero where the knob `cosine` is on."""

    def at(count: ArrayLike) -> Scalar:
        fraction = jnp.asarray(count) / num_steps
        factor = jnp.where(values["cosine"] > 0.5, cosine(fraction), 1.0)
        return values["learning_rate"] * factor

    return at


def sgd(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """Stochastic gradient descent with momentum (Polyak, 1964)."""
    momentum = 1.0 - values["one_minus_momentum"]
    return Recipe(optax.sgd(schedule(values, num_steps), momentum=momentum))


def adam(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """Adam (Kingma, Ba, arXiv 1412.6980)."""
    return Recipe(optax.adam(schedule(values, num_steps)))


def adamw(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """Adam with decoupled weight decay (Loshchilov, Hutter, arXiv 1711.05101)."""
    rate = schedule(values, num_steps)
    return Recipe(optax.adamw(rate, weight_decay=values["weight_decay"]))


def muon(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """Orthogonalized momentum for all weights (Jordan et al., 2024), of the root mean square of
    Adam's steps (Liu et al., arXiv 2502.16982); AdamW for biases and norms.
    """
    decay = values["weight_decay"]
    optimizer = optax.contrib.muon(
        schedule(values, num_steps),
        weight_decay=decay,
        adam_weight_decay=decay,
        muon_weight_dimension_numbers=weight_matrices,
        consistent_rms=0.2,
    )
    return Recipe(optimizer)


def weight_matrices(params: Params) -> Any:
    """How each tensor is a matrix to Muon, with a column a unit; None for a vector."""

    def matrix(tensor: Float[Array, "..."]) -> MuonDimensionNumbers | None:
        axes = range(tensor.ndim)
        return MuonDimensionNumbers(tuple(axes[:-1]), axes[-1]) if tensor.ndim > 1 else None

    return jax.tree.map(matrix, params)


def direction(values: Values, *, b1: float | Scalar = 0.9, b2: float | Scalar = 0.999) -> Optimizer:
    """Adam's step before its learning rate, or momentum's where the knob `sgd` is on.

    Args:
        values: Of the knobs.
        b1: Decay of the mean gradient, of Adam, or of the sum of gradients, of momentum.
        b2: Decay of Adam's mean squared gradient.
    """
    adam_steps, momentum = optax.scale_by_adam(b1, b2), optax.trace(b1)

    def init(params: Params) -> tuple[Any, Any]:
        return adam_steps.init(params), momentum.init(params)

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        ours, adam_state = adam_steps.update(updates, state[0], params)
        theirs, momentum_state = momentum.update(updates, state[1], params)
        chosen = jax.tree.map(
            lambda one, other: jnp.where(values["sgd"] > 0.5, SGD_RATIO * other, one), ours, theirs
        )
        return chosen, (adam_state, momentum_state)

    return optax.GradientTransformation(init, update)


def base(values: Values, num_steps: int) -> Recipe:
    """Adam or SGD with momentum .9, as the knob `sgd` says: what other rivals add to."""
    rate = optax.scale_by_learning_rate(schedule(values, num_steps))
    return Recipe(optax.chain(direction(values), rate))


def ema(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """Judged by an exponential average of the weights (see `averaging`)."""
    return averaged(base(values, num_steps), values["average_share"] * num_steps)


def sam(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """With the gradient a step uphill (Foret et al., arXiv 2010.01412)."""
    return base(values, num_steps)._replace(perturb=sharpness_aware(values["rho"]))


def asam(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """With the gradient a step uphill, in units of each weight (Kwon et al., arXiv 2102.11600)."""
    return base(values, num_steps)._replace(perturb=adaptive_sharpness_aware(values["rho"]))


def damp(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """Under multiplicative weight noise (Trinh et al., arXiv 2406.16540)."""
    return base(values, num_steps)._replace(perturb=weight_noise(values["noise_std"]))


def label_smoothing(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """On smoothed labels (Szegedy et al., arXiv 1512.00567)."""
    regularization = Regularization(label_smoothing=values["label_smoothing"])
    return base(values, num_steps)._replace(regularization=regularization)


def dropout(values: Values, num_steps: int, _layout: Layout) -> Recipe:
    """With hidden units left out at random (Srivastava et al., 2014, JMLR 15)."""
    regularization = Regularization(dropout=values["dropout"])
    return base(values, num_steps)._replace(regularization=regularization)


def decayed(values: Values, num_steps: int, layout: Layout) -> Recipe:
    """Adam with four decays that know where a weight sits (see `decayed_adam`)."""
    decays = Decays(**{name: values[f"{name}_decay"] for name in Decays._fields})
    return Recipe(decayed_adam(schedule(values, num_steps), decays, layout))


def autoft(values: Values, num_steps: int, layout: Layout) -> Recipe:
    """All of the common knobs at once, each on or off, after AutoFT (Choi et al., arXiv
    2401.10220), which searches such a space on data from outside the training distribution.
    """
    optimizer = optax.chain(
        direction(values, b1=1.0 - values["one_minus_b1"], b2=1.0 - values["one_minus_b2"]),
        add_decays(Decays(values["weights_decay"], biases=values["biases_decay"]), layout),
        optax.scale_by_learning_rate(schedule(values, num_steps)),
    )
    recipe = Recipe(
        optimizer,
        perturb=one_after_another(
            weight_noise(values["noise_std"]), sharpness_aware(values["rho"])
        ),
        regularization=Regularization(values["label_smoothing"], values["dropout"]),
    )
    return averaged(recipe, values["average_share"] * num_steps)


RATE: Knobs = {"learning_rate": LogUniform(1e-4, 1e-1), "cosine": Switch()}
BASE: Knobs = {**RATE, "sgd": Switch()}
RHO = LogUniform(1e-3, 3.0)
NOISE_STD = LogUniform(3e-3, 1.0)
LABEL_SMOOTHING = LogUniform(1e-3, 0.9)
DROPOUT = LogUniform(1e-2, 0.9)
AVERAGE_SHARE = LogUniform(1e-3, 1.0)


def maybe(knob: LogUniform) -> LogUniform:
    """The knob, turned off in half of all trials."""
    return knob._replace(chance_of_none=0.5)


RIVALS = {
    "sgd": Rival(
        {
            "learning_rate": LogUniform(1e-3, 3.0),
            "one_minus_momentum": LogUniform(1e-2, 1.0),
            "cosine": Switch(),
        },
        sgd,
    ),
    "adam": Rival(RATE, adam),
    "adamw": Rival(
        {
            "learning_rate": LogUniform(1e-4, 1e-1),
            "weight_decay": LogUniform(1e-3, 1e2),
            "cosine": Switch(),
        },
        adamw,
    ),
    "muon": Rival(
        {
            "learning_rate": LogUniform(1e-4, 1e-1),
            "weight_decay": LogUniform(1e-3, 1e2),
            "cosine": Switch(),
        },
        muon,
    ),
    "ema": Rival({**BASE, "average_share": AVERAGE_SHARE}, ema),
    "sam": Rival({**BASE, "rho": RHO}, sam),
    "asam": Rival({**BASE, "rho": LogUniform(1e-2, 30.0)}, asam),
    "damp": Rival({**BASE, "noise_std": NOISE_STD}, damp),
    "label_smoothing": Rival({**BASE, "label_smoothing": LABEL_SMOOTHING}, label_smoothing),
    "dropout": Rival({**BASE, "dropout": DROPOUT}, dropout),
    "decayed_adam": Rival(
        {
            "learning_rate": LogUniform(5e-4, 5e-2),
            "weights_decay": LogUniform(1e-3, 3.0),
            "roughness_decay": LogUniform(1e-2, 1e1),
            "means_decay": LogUniform(3e-2, 1e2),
            "biases_decay": LogUniform(1e-2, 1e2),
            "cosine": Switch(),
        },
        decayed,
        num_trials=64,
    ),
    "autoft": Rival(
        {
            **BASE,
            "one_minus_b1": LogUniform(1e-2, 1.0),
            "one_minus_b2": LogUniform(1e-4, 1.0),
            "weights_decay": maybe(LogUniform(1e-3, 1e1)),
            "biases_decay": maybe(LogUniform(1e-2, 1e2)),
            "label_smoothing": maybe(LABEL_SMOOTHING),
            "dropout": maybe(DROPOUT),
            "average_share": maybe(AVERAGE_SHARE),
            "rho": maybe(RHO),
            "noise_std": maybe(NOISE_STD),
        },
        autoft,
        num_trials=64,
    ),
}
"""Rivals by name."""

"""Hand-designed recipes, each from the values of its knobs, which may be traced.

Every learning rate follows a constant or a cosine schedule, which is a knob like any other; so is,
for what can be added to any optimizer, whether that is Adam or SGD with momentum. What a recipe
adds to another is turned off exactly by 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import ArrayLike, Scalar

from noiseproof.kinds import nearest_kind
from noiseproof.layouts.layout import fit_layout
from noiseproof.optimizers.schedules import cosine
from noiseproof.optimizers.weight_space import Strengths, weight_space_augmentation
from noiseproof.rivals.averaging import averaged
from noiseproof.rivals.decayed_adam import Decays, add_decays, decayed_adam
from noiseproof.rivals.directions import momentum_direction, muon_direction, one_of
from noiseproof.rivals.frequency import add_frequency_penalty
from noiseproof.rivals.knobs import NumSteps, Values
from noiseproof.rivals.perturbations import (
    adaptive_sharpness_aware,
    by_depth,
    one_after_another,
    sharpness_aware,
    weight_noise,
)
from noiseproof.types import Layout, Optimizer, Params, Recipe, Regularization


def schedule(values: Values, num_steps: NumSteps) -> optax.Schedule:
    """The learning rate: constant, or a cosine to zero where the knob `cosine` is on."""

    def at(count: ArrayLike) -> Scalar:
        fraction = jnp.asarray(count) / num_steps
        factor = jnp.where(values["cosine"] > 0.5, cosine(fraction), 1.0)
        return values["learning_rate"] * factor

    return at


def step_of(values: Values, num_steps: NumSteps) -> Optimizer:
    """Turns a direction into a step down it."""
    return optax.scale_by_learning_rate(schedule(values, num_steps))


def decay_of(values: Values, layout: Layout) -> Optimizer:
    """Decoupled decay of weights and biases alike; norms are left alone, as is usual."""

    def decaying(params: Params) -> Any:
        kinds = [nearest_kind(role.kind) for role in fit_layout(layout, params)]
        found = [kind not in ("norm", "statistic") for kind in kinds]
        return jax.tree.unflatten(jax.tree.structure(params), found)

    return optax.add_decayed_weights(values["weight_decay"], decaying)


def sgd(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """Stochastic gradient descent with momentum (Polyak, 1964)."""
    momentum = 1.0 - values["one_minus_momentum"]
    return Recipe(optax.sgd(schedule(values, num_steps), momentum=momentum))


def adam(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """Adam (Kingma, Ba, arXiv 1412.6980)."""
    return Recipe(optax.adam(schedule(values, num_steps)))


def adamw(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """Adam with decoupled weight decay (Loshchilov, Hutter, arXiv 1711.05101)."""
    decay, step = decay_of(values, layout), step_of(values, num_steps)
    return Recipe(optax.chain(optax.scale_by_adam(), decay, step))


def frequency(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """AdamW with a penalty on the high frequencies of filters (see `frequency`)."""
    penalty = add_frequency_penalty(values["strength"], layout)
    recipe = adamw(values, num_steps, layout)
    return recipe._replace(optimizer=optax.chain(penalty, recipe.optimizer))


def muon(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """Orthogonalized momentum for weights, Adam's for vectors, with decoupled decay (see
    `directions`).
    """
    decay, step = decay_of(values, layout), step_of(values, num_steps)
    return Recipe(optax.chain(muon_direction(layout), decay, step))


def muon_ema(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """Muon judged by an exponential average of the weights (see `averaging`)."""
    return averaged(muon(values, num_steps, layout), values["average_share"] * num_steps)


def muon_damp(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """Muon under multiplicative weight noise (Trinh et al., arXiv 2406.16540)."""
    noise = weight_noise(values["noise_std"])
    return muon(values, num_steps, layout)._replace(perturb=noise)


def base(values: Values, num_steps: NumSteps) -> Recipe:
    """Adam, or SGD with momentum where the knob `sgd` is on: what other rivals add to."""
    momentum = momentum_direction(1.0 - values["one_minus_momentum"])
    direction = one_of((optax.scale_by_adam(), momentum), (values["sgd"],))
    return Recipe(optax.chain(direction, step_of(values, num_steps)))


def ema(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """Judged by an exponential average of the weights (see `averaging`)."""
    return averaged(base(values, num_steps), values["average_share"] * num_steps)


def sam(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """With the gradient a step uphill (Foret et al., arXiv 2010.01412)."""
    return base(values, num_steps)._replace(perturb=sharpness_aware(values["rho"]))


def asam(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """With the gradient a step uphill, in units of each weight (Kwon et al., arXiv 2102.11600)."""
    return base(values, num_steps)._replace(perturb=adaptive_sharpness_aware(values["rho"]))


def layer_sam(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """SAM with a radius that grows or shrinks from the first layer to the readout."""
    perturb = sharpness_aware(values["rho"], by_depth(values["growth"], layout))
    return base(values, num_steps)._replace(perturb=perturb)


def layer_asam(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """ASAM with a radius that grows or shrinks from the first layer to the readout."""
    perturb = adaptive_sharpness_aware(values["rho"], by_depth(values["growth"], layout))
    return base(values, num_steps)._replace(perturb=perturb)


def damp(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """Under multiplicative weight noise (Trinh et al., arXiv 2406.16540)."""
    return base(values, num_steps)._replace(perturb=weight_noise(values["noise_std"]))


def label_smoothing(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """On smoothed labels (Szegedy et al., arXiv 1512.00567)."""
    regularization = Regularization(label_smoothing=values["label_smoothing"])
    return base(values, num_steps)._replace(regularization=regularization)


def dropout(values: Values, num_steps: NumSteps, _layout: Layout) -> Recipe:
    """With hidden units left out at random (Srivastava et al., 2014, JMLR 15)."""
    regularization = Regularization(dropout=values["dropout"])
    return base(values, num_steps)._replace(regularization=regularization)


def four_decays(values: Values) -> Decays:
    """The decays of their knobs."""
    return Decays(**{name: values[f"{name}_decay"] for name in Decays._fields})


def adam_with_decays(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """Adam with four decays that know where a weight sits (see `decayed_adam`)."""
    return Recipe(decayed_adam(schedule(values, num_steps), four_decays(values), layout))


def muon_with_decays(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """Muon's direction with the four decays of `decayed_adam`."""
    decays, step = add_decays(four_decays(values), layout), step_of(values, num_steps)
    return Recipe(optax.chain(muon_direction(layout), decays, step))


def muon_in_weight_space(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """`muon_with_decays` whose first layer answers to changed images (see `weight_space`)."""
    strengths = Strengths(**{name: values[name] for name in Strengths._fields})
    perturb = weight_space_augmentation(strengths, layout)
    return muon_with_decays(values, num_steps, layout)._replace(perturb=perturb)


def autoft(values: Values, num_steps: NumSteps, layout: Layout) -> Recipe:
    """All of the common knobs at once, each on or off, after AutoFT (Choi et al., arXiv
    2401.10220), which searches such a space on data from outside the training distribution.
    """
    b1 = 1.0 - values["one_minus_momentum"]
    adam_steps = optax.scale_by_adam(b1, 1.0 - values["one_minus_b2"])
    optimizer = optax.chain(
        one_of(
            (adam_steps, momentum_direction(b1), muon_direction(layout)),
            (values["sgd"], values["muon"]),
        ),
        add_decays(Decays(values["weights_decay"], biases=values["biases_decay"]), layout),
        step_of(values, num_steps),
    )
    recipe = Recipe(
        optimizer,
        perturb=one_after_another(
            weight_noise(values["noise_std"]), sharpness_aware(values["rho"])
        ),
        regularization=Regularization(values["label_smoothing"], values["dropout"]),
    )
    return averaged(recipe, values["average_share"] * num_steps)

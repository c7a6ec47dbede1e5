"""Who is compared on the GPU: learned rules as they are, and hand-designed optimizers to be tuned.

Every hand-designed one follows a cosine to zero, and has a handful of log-spaced trials.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from noiseproof.rivals import RIVALS
from noiseproof.rivals.knobs import LogUniform
from noiseproof.rivals.perturbations import sharpness_aware
from noiseproof.types import Layout, LearnedOptimizer, Recipe


class Contestant(NamedTuple):
    """An optimizer. Attributes: `recipe(values, num_steps, layout)`, values and length traced; the
    values of its trials, of which a single one is taken as it is."""

    recipe: Callable[[Any, Any, Layout], Recipe]
    trials: list[Any]


def cosine(values: Mapping[str, Any], num_steps: Any) -> optax.Schedule:
    """Half a cosine from the learning rate to zero."""
    rate = values["learning_rate"]
    return lambda count: rate * 0.5 * (1.0 + jnp.cos(jnp.pi * count / num_steps))


def nesterov(values: Mapping[str, Any], num_steps: Any, _layout: Layout) -> Recipe:
    """SGD with Nesterov momentum .9 and weight decay in the gradient, as is usual for ResNets."""
    return Recipe(
        optax.chain(
            optax.add_decayed_weights(values["weight_decay"]),
            optax.sgd(cosine(values, num_steps), momentum=0.9, nesterov=True),
        )
    )


def sam(values: Mapping[str, Any], num_steps: Any, layout: Layout) -> Recipe:
    """The same at the end of a step uphill (Foret et al., arXiv 2010.01412)."""
    return nesterov(values, num_steps, layout)._replace(perturb=sharpness_aware(values["rho"]))


def with_cosine(name: str) -> Callable[[Any, Any, Layout], Recipe]:
    """A rival of the package, on a cosine."""
    return lambda values, num_steps, layout: RIVALS[name].recipe(
        {**values, "cosine": 1.0}, num_steps, layout
    )


def learned(rule: LearnedOptimizer) -> Callable[[Any, Any, Layout], Recipe]:
    """A learned rule, whose values are its theta."""
    return lambda theta, num_steps, layout: Recipe(rule.optimizer(theta, num_steps, layout))


def grid(**ranges: list[float]) -> list[dict[str, float]]:
    """All combinations of values."""
    names = list(ranges)
    return [dict(zip(names, row, strict=True)) for row in product(*ranges.values())]


def rivals() -> dict[str, Contestant]:
    """Hand-designed optimizers and their trials."""
    generator = np.random.default_rng(0)
    decays = {
        name: knob
        for name, knob in RIVALS["decayed_muon"].knobs.items()
        if isinstance(knob, LogUniform) and name != "learning_rate"
    }
    # Rates in steps, since twelve draws would leave gaps; the four decays at random.
    random = [
        {
            "learning_rate": float(rate),
            **{
                name: float(np.exp(generator.uniform(np.log(knob.low), np.log(knob.high))))
                for name, knob in decays.items()
            },
        }
        for rate in np.geomspace(5e-4, 1.6e-2, 12)
    ]
    return {
        "muon": Contestant(
            with_cosine("muon"),
            grid(learning_rate=[3e-3, 1e-2, 3e-2, 0.1], weight_decay=[0.01, 0.03, 0.3]),
        ),
        "sgd_nesterov": Contestant(
            nesterov,
            grid(learning_rate=[3e-3, 0.01, 0.03, 0.1], weight_decay=[1e-4, 5e-4, 3e-3]),
        ),
        "decayed_muon": Contestant(with_cosine("decayed_muon"), random),
        "adamw": Contestant(
            with_cosine("adamw"),
            grid(learning_rate=[1e-4, 3e-4, 1e-3, 3e-3], weight_decay=[0.05, 0.5, 2.0]),
        ),
        "adam": Contestant(
            with_cosine("adam"), grid(learning_rate=np.geomspace(1e-4, 3e-2, 9).tolist())
        ),
        "sam": Contestant(
            sam, grid(learning_rate=[3e-3, 0.01, 0.03, 0.1], rho=[0.02, 0.05], weight_decay=[5e-4])
        ),
    }

"""Loading a learned optimizer: a shipped one by name, one's own by its folder or file.

A learned optimizer on disk is `NAME.safetensors`, its weights, and `NAME.json`, its card, which
says which rule the weights belong to. Loading is offline and runs no code from the files.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from noiseproof.checkpoint import load_theta
from noiseproof.layouts.layout import is_role, roles
from noiseproof.layouts.tensors import check_weights
from noiseproof.messages import short
from noiseproof.models import MODELS
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.optimizers.precision import in_float32, in_full
from noiseproof.optimizers.whole import split_as, whole
from noiseproof.published import (
    UNTOLD,
    check_num_steps,
    check_steps_per_epoch,
    find,
    met,
    warn_if_far,
)
from noiseproof.types import Layout, LearnedOptimizer, Params, Recipe, Theta
from noiseproof.zoo.cards import Card

NUM_CLASSES = 10
"""Of the data sets of cards that do not say how many they have."""


class Loaded(NamedTuple):
    """A learned optimizer from disk. Attributes: the rule, its weights, and the card."""

    learned: LearnedOptimizer
    theta: Theta
    card: dict[str, Any]


def load_learned(
    name: str | Path, steps_per_epoch: float | Float[Array, ""] | None = None
) -> Loaded:
    """A learned optimizer, its rule checked against its weights.

    Args:
        name: A shipped name, a folder of a run, or a `.safetensors` file.
        steps_per_epoch: As of `load`.

    Raises:
        ValueError: There is none, it is damaged, or its weights are not those of its rule.
    """
    theta, card = load_theta(find(name))
    rule, options = card["rule"], card["options"]
    if rule not in LEARNED_OPTIMIZERS:
        allowed = ", ".join(LEARNED_OPTIMIZERS)
        raise ValueError(f"{name} is of the rule {short(rule)}; this version knows {allowed}.")
    plain = {key: as_tuple(value) for key, value in options.items()}
    told = {"steps_per_epoch": steps_per_epoch} if counts_epochs(card) else {}
    try:
        learned = LEARNED_OPTIMIZERS[rule](**plain, **told)
        wanted = jax.eval_shape(learned.init, jax.random.key(0))
    # A builder stumbles over options of a wrong type in whatever way.
    except Exception:
        raise ValueError(f"{name} has options that {rule} does not take: {short(plain)}.") from None
    if shapes(theta) != shapes(wanted):
        raise ValueError(
            f"The weights of {name} are not those of the rule {rule} with {short(plain)}."
        )
    return Loaded(learned, theta, card)


def counts_epochs(card: dict[str, Any]) -> bool:
    """Whether rates depend on how often a run goes through its images."""
    return bool(card["options"].get("counts_epochs"))


def card(name: str | Path) -> Card:
    """What a learned optimizer was meta-trained on, its results and its limits.

    A mapping that prints as text.

    Args:
        name: A shipped name, a folder of a run, or a `.safetensors` file.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    return Card(str(name), load_theta(find(name))[1])


def load(
    name: str | Path,
    *,
    num_steps: int | Int[Array, ""],
    layout: Layout,
    steps_per_epoch: float | Float[Array, ""] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A learned optimizer as an optax transformation, where that is all that it is.

    One that judges other weights than it trains is a `recipe`.

    Its classifiers saw images that were standardized: less their mean over their spread, by
    channel, of the training images. Do the same to yours. A run that goes on past `num_steps`
    goes on at the last rate. State is in float32, updates in the type of the params.

    Args:
        name: A shipped name, a folder of a run, or a `.safetensors` file.
        num_steps: Length of the training run, which the rule's schedule spans.
        layout: The roles of the classifier's tensors, see `noiseproof.layout_of`.
        steps_per_epoch: Steps in which the run sees every training image once: the images divided
            by those of a step. For optimizers whose rates depend on how often that is; others make
            the same steps with and without.

    Raises:
        ValueError: There is none, it is damaged, it judges other weights than it trains,
            `num_steps` is no whole number of at least 10, `steps_per_epoch` is not positive, or the
            layout holds no role; on `init`, where the params hold no weight.
    """
    optimizer, answer = both(name, num_steps, layout, steps_per_epoch)
    if answer is not the_params:
        raise ValueError(
            f"{name} changes the first layer while it is trained: take noiseproof.recipe("
            f"{str(name)!r}, ...), and judge the weights of its answer(params, state)."
        )
    return optimizer


def recipe(
    name: str | Path,
    *,
    num_steps: int | Int[Array, ""],
    layout: Layout,
    steps_per_epoch: float | Float[Array, ""] | None = None,
) -> Recipe:
    """A learned optimizer as a recipe: how to train, and which weights are judged.

    For any learned optimizer; where `load` gives one, `answer` returns the params as they are:

        recipe = noiseproof.recipe(name, num_steps=1000, layout=layout)
        state = recipe.optimizer.init(params)
        ...  # the loop of any optax optimizer, with recipe.optimizer
        weights = recipe.answer(params, state)  # to judge, to save

    Args:
        name: As of `load`.
        num_steps: As of `load`.
        layout: As of `load`.
        steps_per_epoch: As of `load`.

    Raises:
        ValueError: As `load`, save for weights that are judged.
    """
    optimizer, answer = both(name, num_steps, layout, steps_per_epoch)
    return Recipe(optimizer, answer=answer)


the_params = LearnedOptimizer._field_defaults["answer"]
"""The answer of what trains the weights that are judged."""


def both(
    name: str | Path,
    num_steps: int | Int[Array, ""],
    layout: Layout,
    steps_per_epoch: float | Float[Array, ""] | None,
) -> tuple[optax.GradientTransformationExtraArgs, Callable[[Params, Any], Params]]:
    """The transformation of a learned optimizer, and its answer.

    Raises:
        ValueError: As `recipe`.
    """
    # Within optax.inject_hyperparams they may be traced, and have no value to check.
    num_steps, steps_per_epoch = plain(num_steps), plain(steps_per_epoch)
    is_known = not isinstance(num_steps, Tracer)
    if is_known:
        check_num_steps(num_steps)
    if not isinstance(steps_per_epoch, Tracer):
        check_steps_per_epoch(steps_per_epoch)
    if not any(map(is_role, roles(layout))):
        raise ValueError(
            "layout must hold the roles of the classifier's tensors, got"
            f" {short(layout)}; give noiseproof.layout_of(params, image_shape)."
        )
    loaded = load_learned(name, steps_per_epoch)
    if steps_per_epoch is None and counts_epochs(loaded.card):
        warnings.warn(UNTOLD.format(name=name), stacklevel=3)
    if is_known:
        warn_if_far(name, "steps", int(num_steps), met(loaded.card).steps)
    optimizer = in_float32(loaded.learned.optimizer(loaded.theta, num_steps, layout))

    def start(params: PyTree) -> Any:
        check_weights(params)
        state = optimizer.init(params)
        num_weights = sum(leaf.size for leaf in jax.tree.leaves(params))
        warn_if_far(name, "weights", num_weights, met(loaded.card).weights)
        return state

    return optimizer._replace(init=start), answer_of(loaded.learned)


def plain(number: Any) -> Any:
    """A number that is an array, as Python has it, and a whole one as a whole number."""
    if isinstance(number, Tracer) or not isinstance(number, jax.Array) or number.ndim:
        return number
    value = number.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def answer_of(learned: LearnedOptimizer) -> Callable[[Params, Any], Params]:
    """The weights that are judged, in the types of the params."""
    if learned.answer is the_params:
        return the_params

    def answer(params: Params, state: Any) -> Params:
        weights = learned.answer(whole(in_full(params)), state)
        return jax.tree.map(
            split_as, jax.tree.map(lambda new, old: new.astype(old.dtype), weights, params), params
        )

    return answer


def params_of(task: dict[str, Any]) -> Params:
    """The shapes of the weights of the classifier that the task of a card names."""
    model = MODELS[task["model"]](
        image_shape=as_tuple(task["image_shape"]),
        num_classes=task.get("num_classes", NUM_CLASSES),
        **{key: as_tuple(value) for key, value in task["model_options"].items()},
    )
    return jax.eval_shape(model.init, jax.random.key(0))


def as_tuple(value: Any) -> Any:
    """An option as builders take it: lists, of which JSON knows alone, as tuples."""
    return tuple(value) if isinstance(value, list) else value


def shapes(theta: Theta) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its place."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(theta)
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}

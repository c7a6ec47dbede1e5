"""Loading a learned optimizer: a shipped one by name, one's own by its folder or file.

A learned optimizer on disk is `NAME.safetensors`, its weights, and `NAME.json`, its card, which
says which rule the weights belong to. Loading is offline and runs no code from the files.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from noiseproof.checkpoint import load_theta
from noiseproof.optimizers import LEARNED_OPTIMIZERS
from noiseproof.types import Layout, LearnedOptimizer, Optimizer, Theta

FOLDER = Path(__file__).parent


class Loaded(NamedTuple):
    """A learned optimizer from disk. Attributes: the rule, its weights, and the card."""

    learned: LearnedOptimizer
    theta: Theta
    card: dict[str, Any]


def shipped_names() -> list[str]:
    """Names of the learned optimizers that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def find(name: str | Path) -> Path:
    """The weights that a name, a folder or a file stands for.

    Raises:
        ValueError: There are none.
    """
    path = Path(name)
    candidates = (FOLDER / f"{name}.safetensors", path / "theta.safetensors", path)
    for candidate in candidates:
        if candidate.suffix == ".safetensors" and candidate.is_file():
            return candidate
    shipped = ", ".join(shipped_names()) or "none"
    raise ValueError(
        f"There is no learned optimizer {name}: it must be a folder with theta.safetensors, a "
        f".safetensors file, or a shipped name (there are: {shipped})."
    )


def load_learned(name: str | Path) -> Loaded:
    """A learned optimizer, its rule checked against its weights.

    Args:
        name: A shipped name, a folder of a run, or a `.safetensors` file.

    Raises:
        ValueError: There is none, it is damaged, or its weights are not those of its rule.
    """
    theta, card = load_theta(find(name))
    rule, options = card.get("rule"), card.get("options", {})
    if rule not in LEARNED_OPTIMIZERS:
        allowed = ", ".join(LEARNED_OPTIMIZERS)
        raise ValueError(f"{name} is of the rule {rule}; this version knows {allowed}.")
    plain = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    try:
        learned = LEARNED_OPTIMIZERS[rule](**plain)
    except TypeError:
        raise ValueError(f"{name} has options that {rule} does not take: {plain}.") from None
    wanted = jax.eval_shape(learned.init, jax.random.key(0))
    if shapes(theta) != shapes(wanted):
        raise ValueError(f"The weights of {name} are not those of the rule {rule} with {plain}.")
    return Loaded(learned, theta, card)


def load(name: str | Path, *, num_steps: int, layout: Layout) -> Optimizer:
    """A learned optimizer as an optax transformation.

    Args:
        name: A shipped name, a folder of a run, or a `.safetensors` file.
        num_steps: Length of the training run, which the rule's schedule spans.
        layout: The roles of the classifier's tensors, see `noiseproof.layout_of`.

    Raises:
        ValueError: There is none, it is damaged, or `num_steps` is not positive.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be positive, got {num_steps}.")
    loaded = load_learned(name)
    return loaded.learned.optimizer(loaded.theta, num_steps, layout)


def shapes(theta: Theta) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its place."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(theta)
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}

"""A learned optimizer on disk: its weights as safetensors, and a JSON card that says what they are.

The card holds the checksum of the weights and its own, so that the pair is used only as it was
published. A process that is killed while it publishes leaves the old pair or the new one.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import PyTree

from noiseproof.messages import short
from noiseproof.published import DTYPES, check_card, read_published, theta_files
from noiseproof.seal import replace_files, seal, sha256


def save_theta(path: str | Path, theta: PyTree, card: dict[str, Any]) -> Path:
    """Publish the weights of a learned optimizer with their card.

    Args:
        path: A folder, for `theta.safetensors` and `theta.json` in it, or the name of a
            `.safetensors` file, for that and a `.json` beside it.
        theta: Nested dicts, with names for keys, of float16 or float32 arrays.
        card: What JSON can hold: `rule` and `options`, from which the optimizer is built, and all
            that a reader should know: what it was meta-trained on and how long, results with
            intervals, cost, device, versions, seed, license.

    Returns:
        The file of the weights.

    Raises:
        ValueError: `theta` is no nest of dicts of float arrays, or `card` lacks its rule or
            options or holds what JSON cannot.
    """
    weights_file, card_file = theta_files(Path(path))
    weights = safetensors.numpy.save(_flatten(theta))
    check_card(card)
    sealed = seal({**card, "theta_sha256": sha256(weights)})
    weights_file.parent.mkdir(parents=True, exist_ok=True)
    replace_files({weights_file: weights, card_file: sealed})
    return weights_file


def load_theta(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights and the card of a published learned optimizer.

    Args:
        path: What `save_theta` was given.

    Returns:
        Theta as nested dicts of arrays, and the card.

    Raises:
        ValueError: A file is missing or damaged, or of another format version.
    """
    arrays, card = read_published(Path(path))
    return _unflatten(arrays), card


def _flatten(theta: PyTree, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays by the names on their way, joined with slashes."""
    if not isinstance(theta, dict):
        if not prefix or str(getattr(theta, "dtype", None)) not in DTYPES:
            raise ValueError(
                f"theta must be nested dicts of {' or '.join(DTYPES)} arrays,"
                f" got {_kind(theta)} at {prefix or 'its root'}."
            )
        return {prefix: np.array(theta, order="C")}
    flat: dict[str, np.ndarray] = {}
    for name, part in theta.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"theta must have names without a slash for keys, got {short(name)}.")
        flat |= _flatten(part, f"{prefix}/{name}" if prefix else name)
    if not flat:
        raise ValueError(
            f"theta must hold an array in every dict, got none at {prefix or 'its root'}."
        )
    return flat


def _kind(leaf: Any) -> str:
    """What a leaf is, in a word."""
    return str(getattr(leaf, "dtype", type(leaf).__name__))


def _unflatten(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    theta: dict[str, Any] = {}
    for path, array in flat.items():
        *outer, name = path.split("/")
        part = theta
        for step in outer:
            part = part.setdefault(step, {})
            if not isinstance(part, dict):
                raise ValueError(f"A theta must not hold both {short(step)} and parts of it.")
        part[name] = jnp.asarray(array)
    return theta

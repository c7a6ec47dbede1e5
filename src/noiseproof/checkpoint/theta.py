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

from noiseproof.checkpoint.seal import replace_files, seal, sha256, unfinished, unseal
from noiseproof.files import read_whole
from noiseproof.messages import short

WEIGHTS_SUFFIX = ".safetensors"
DTYPES = ("float16", "float32")


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
    weights_file, card_file = _theta_files(Path(path))
    weights = safetensors.numpy.save(_flatten(theta))
    _check_card(card)
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
    weights_file, card_file = _theta_files(Path(path))
    weights = read_whole(weights_file)
    card = _waiting_card(card_file, sha256(weights)) or unseal(card_file)
    _check_card(card)
    if sha256(weights) != card.get("theta_sha256"):
        raise ValueError(f"{weights_file} is damaged or not the one of {card_file.name}.")
    return _unflatten(_arrays(weights, weights_file)), card


def _arrays(weights: bytes, path: Path) -> dict[str, np.ndarray]:
    """The arrays by their names, of the types that a theta has."""
    try:
        arrays = safetensors.numpy.load(weights)
    # What the library raises for its own format is no ValueError, and a type that NumPy has not a
    # KeyError.
    except Exception:
        raise ValueError(f"{path} must be a whole safetensors file.") from None
    for name, array in arrays.items():
        if str(array.dtype) not in DTYPES:
            raise ValueError(
                f"{path} must hold {' or '.join(DTYPES)} arrays, got {array.dtype} at "
                f"{short(name)}."
            )
        if not np.isfinite(array.astype(np.float32)).all():
            raise ValueError(f"{path} must be finite, but {short(name)} is not: it diverged.")
    return arrays


def _theta_files(path: Path) -> tuple[Path, Path]:
    """The files of weights and card."""
    weights_file = path if path.suffix == WEIGHTS_SUFFIX else path / f"theta{WEIGHTS_SUFFIX}"
    return weights_file, weights_file.with_suffix(".json")


def _waiting_card(card_file: Path, digest: str) -> dict[str, Any] | None:
    """The card of weights that got their name when a kill left the card without its own."""
    try:
        card = unseal(unfinished(card_file))
    except ValueError:
        return None
    return card if card.get("theta_sha256") == digest else None


def _check_card(card: dict[str, Any]) -> None:
    for name, kind in (("rule", str), ("options", dict)):
        if not isinstance(card.get(name), kind):
            raise ValueError(
                f"A card must hold {name} ({kind.__name__}), got {short(card.get(name))}."
            )


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

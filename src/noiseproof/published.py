"""Published learned optimizers as files: where those of a name are, and what is in them.

A learned optimizer on disk is `NAME.safetensors`, its weights, and `NAME.json`, its card, which
holds the checksum of the weights and its own. Reading them needs no JAX and runs no code.
"""

import warnings
from collections.abc import Mapping
from math import inf
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from noiseproof.files import read_whole
from noiseproof.messages import did_you_mean, require_printable, short
from noiseproof.seal import sha256, unfinished, unseal

FOLDER = Path(__file__).parent / "zoo"
"""Of those that ship with the package."""

FAR = 10.0
"""A run or a classifier that many times beyond those of meta-training is warned of."""

FEWEST_STEPS = 10
"""A shorter run has no parts in which rates could differ."""

UNTOLD = (
    "{name} has rates for how often a run goes through its images, and takes two epochs where it is"
    " not told; give steps_per_epoch, the training images divided by those of a step."
)
"""A warning."""

WEIGHTS_SUFFIX = ".safetensors"
DTYPES = ("float16", "float32")


def shipped_names() -> list[str]:
    """Names of the learned optimizers that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob(f"*{WEIGHTS_SUFFIX}"))


def check_num_steps(num_steps: Any) -> None:
    """Raise ValueError unless a run of `num_steps` is one that a learned optimizer can train."""
    if not isinstance(num_steps, Integral) or int(num_steps) < FEWEST_STEPS:
        raise ValueError(
            f"num_steps must be a whole number, {FEWEST_STEPS} at least, got {short(num_steps)};"
            " give the length of the whole training run."
        )


def check_steps_per_epoch(steps_per_epoch: Any) -> None:
    """Raise ValueError unless it is None or a positive finite number."""
    if steps_per_epoch is None:
        return
    if not isinstance(steps_per_epoch, Real) or not 0.0 < float(steps_per_epoch) < inf:
        raise ValueError(
            f"steps_per_epoch must be positive and finite, got {short(steps_per_epoch)}; give the"
            " training images divided by those of a step."
        )


class Met(NamedTuple):
    """The least and the greatest number that meta-training met, where a card says it.

    Attributes:
        steps: Of a run.
        weights: Of a classifier.
    """

    steps: tuple[int, int] | None
    weights: tuple[int, int] | None


def met(card: Mapping[str, Any]) -> Met:
    """The sizes that meta-training met, by a card, of one task or of several."""

    def limits(numbers: list[Any]) -> tuple[int, int] | None:
        known = all(isinstance(number, int) and number > 0 for number in numbers)
        return (min(numbers), max(numbers)) if known and numbers else None

    try:
        tasks = card.get("tasks") or [{}]
        steps = [one.get("inner", {}).get("num_steps", card.get("num_steps")) for one in tasks]
        weights = card.get("num_weights") or [(card.get("task") or {}).get("num_weights")]
        return Met(limits(steps), limits(weights))
    # A card that lies says nothing.
    except (AttributeError, TypeError):
        return Met(None, None)


def warn_if_far(name: str | Path, what: str, found: int, limits: tuple[int, int] | None) -> None:
    """Warn of a number of steps or weights that is far from those that meta-training met."""
    if limits is None or not found or limits[0] / FAR <= found <= limits[1] * FAR:
        return
    met = " to ".join(f"{number:,}" for number in sorted(set(limits)))
    warnings.warn(
        f"{name} was meta-trained with {met} {what}, which is far from {found:,}; compare it with a"
        f" tuned optimizer before relying on it (noiseproof.card({str(name)!r})).",
        stacklevel=3,
    )


def find(name: str | Path) -> Path:
    """The weights that a name, a folder or a file stands for.

    Raises:
        ValueError: There are none.
    """
    path = Path(name)
    require_printable(name)
    candidates = (FOLDER / f"{name}{WEIGHTS_SUFFIX}", path / f"theta{WEIGHTS_SUFFIX}", path)
    for candidate in candidates:
        if candidate.suffix == WEIGHTS_SUFFIX and candidate.is_file():
            return candidate
    shipped = ", ".join(shipped_names()) or "none"
    raise ValueError(
        f"There is no learned optimizer {short(str(name))}: it must be a folder with "
        f"theta.safetensors, a .safetensors file, or a shipped name (there are: {shipped})."
        + did_you_mean(name, shipped_names())
    )


def theta_files(path: Path) -> tuple[Path, Path]:
    """The files of weights and card, of a folder or of the file of the weights."""
    weights_file = path if path.suffix == WEIGHTS_SUFFIX else path / f"theta{WEIGHTS_SUFFIX}"
    return weights_file, weights_file.with_suffix(".json")


def read_published(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The weights by the names on their way, joined with slashes, and the card.

    Raises:
        ValueError: A file is missing or damaged, or of another format version.
    """
    weights_file, card_file = theta_files(path)
    weights = read_whole(weights_file)
    if not card_file.exists() and not unfinished(card_file).exists():
        raise ValueError(
            f"{card_file} is missing: a learned optimizer has its card beside it, the weights of a"
            " classifier have none."
        )
    card = _waiting_card(card_file, sha256(weights)) or unseal(card_file)
    check_card(card)
    if sha256(weights) != card.get("theta_sha256"):
        raise ValueError(f"{weights_file} is damaged or not the one of {card_file.name}.")
    return _arrays(weights, weights_file), card


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


def _waiting_card(card_file: Path, digest: str) -> dict[str, Any] | None:
    """The card of weights that got their name when a kill left the card without its own."""
    try:
        card = unseal(unfinished(card_file))
    except ValueError:
        return None
    return card if card.get("theta_sha256") == digest else None


def check_card(card: dict[str, Any]) -> None:
    """Raise ValueError unless a card says its rule and options."""
    for name, kind in (("rule", str), ("options", dict)):
        if not isinstance(card.get(name), kind):
            raise ValueError(
                f"A card must hold {name} ({kind.__name__}), got {short(card.get(name))}."
            )

"""Labels as people have them, to whole numbers from 0.

Taken are whole numbers of any kind, with gaps or from 1, true and false, text, one column instead
of one axis, and one-hot rows. All parts of a data set are numbered alike, by the training labels'
classes in their order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, Shaped

from noiseproof.data.trust import shown
from noiseproof.messages import short

MAX_LABEL = int(np.iinfo(np.int32).max)
"""Labels are kept in 32 bits, and a larger one would come out as another."""

MOST_NAMED = 6
"""So many values are named in a message, and the last one."""


class Numbered(NamedTuple):
    """The labels of all parts of a data set, from 0.

    Attributes:
        labels: Name -> int32 `[batch]`.
        num_classes: Labels are 0 to `num_classes - 1`.
        notices: What was assumed, a line each.
    """

    labels: dict[str, Int32[np.ndarray, " batch"]]
    num_classes: int
    notices: tuple[str, ...]


def numbered(labels: Mapping[str, Shaped[np.ndarray, "..."]]) -> Numbered:
    """Numbers the classes of the first part, and the labels of all parts by them.

    Args:
        labels: Name -> labels, the training ones first; names are for messages.

    Raises:
        ValueError: Labels are of no kind above, there is but one class, or a later part has a
            class that the first lacks.
    """
    flat, notices = {}, []
    for name, values in labels.items():
        flat[name], said = _flat(values, name)
        notices += said
    first, *others = flat
    classes = np.unique(flat[first])
    if len(classes) < 2:
        raise ValueError(f"{first} must have at least two classes, got only {listed(classes)}.")
    for name in others:
        notices += _differences(flat[name], name, classes)
    notices += _renumbering(classes, first)
    numbers = {
        name: np.searchsorted(classes, values).astype(np.int32) for name, values in flat.items()
    }
    return Numbered(numbers, len(classes), tuple(notices))


def whole_labels(labels: Shaped[np.ndarray, "..."], name: str) -> Int32[np.ndarray, "..."]:
    """Whole numbers as int32 of the same shape.

    Raises:
        ValueError: They are no whole numbers, or not from 0 to the greatest of 32 bits.
    """
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold whole numbers, got {shown(str(labels.dtype))}.")
    for wrong in (labels.min(initial=0), labels.max(initial=0)):
        if not 0 <= wrong <= MAX_LABEL:
            raise ValueError(f"{name} must lie between 0 and {MAX_LABEL}, got {wrong}.")
    return labels.astype(np.int32)


def listed(values: Sequence[Any] | Shaped[np.ndarray, " values"]) -> str:
    """The first values and the last, for a message."""
    first = [_word(value) for value in values[:MOST_NAMED]]
    if len(values) > MOST_NAMED:
        first += ["...", _word(values[-1])] if len(values) > MOST_NAMED + 1 else [_word(values[-1])]
    return ", ".join(first) or "none"


def _word(value: Any) -> str:
    word = short(value.item() if isinstance(value, np.generic) else value)
    return word if len(word) <= 24 else word[:21] + "..."


def _flat(
    labels: Shaped[np.ndarray, "..."], name: str
) -> tuple[Shaped[np.ndarray, " batch"], list[str]]:
    """One label an image, int32 or text, and what was assumed."""
    values, notices = _plain(labels, name)
    shape = " x ".join(map(str, labels.shape))
    if values.ndim != 1 and values.size == max(values.shape, default=0):
        return values.ravel(), [*notices, f"{name}: {shape} values are taken as one a line."]
    if values.ndim == 2 and values.shape[1] > 1 and values.dtype.kind != "U":
        if values.max(initial=0) > 1 or (values.sum(axis=1) != 1).any():
            raise ValueError(f"{name} must hold one class an image, got no one-hot rows ({shape}).")
        return values.argmax(axis=1), [f"{name}: one-hot rows are taken as classes."]
    if values.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {labels.shape}.")
    return values, notices


def _plain(
    labels: Shaped[np.ndarray, "..."], name: str
) -> tuple[Shaped[np.ndarray, "..."], list[str]]:
    """The labels as int32 or text, in their shape, and what was assumed."""
    kind = labels.dtype.kind
    if kind == "S":
        return np.asarray(np.char.strip(np.char.decode(labels, "utf-8", "replace"))), []
    if kind == "U":
        return np.asarray(np.char.strip(labels)), []
    if kind == "b":
        return labels.astype(np.int32), [f"{name}: false is class 0, true is class 1."]
    if kind != "f":
        return whole_labels(labels, name), []
    values = labels.astype(np.float64)
    wrong = values[~((values >= 0) & (values <= MAX_LABEL) & (values == np.floor(values)))]
    if wrong.size:
        raise ValueError(
            f"{name} must hold whole numbers between 0 and {MAX_LABEL}, "
            f"got {short(wrong[0].item())}."
        )
    return values.astype(np.int32), [f"{name}: {labels.dtype} is taken as whole numbers."]


def _differences(
    labels: Shaped[np.ndarray, " batch"], name: str, classes: Shaped[np.ndarray, " classes"]
) -> list[str]:
    """Names the classes that a part lacks, and refuses those that it has beyond the first."""
    if (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise ValueError(f"{name} must be of the kind of the training labels, numbers or text.")
    beyond = np.setdiff1d(labels, classes)
    if len(beyond):
        raise ValueError(
            f"{name} must hold classes of the training labels only, got {listed(beyond)} beyond."
        )
    lacking = np.setdiff1d(classes, labels)
    return [f"{name} has no image of class {listed(lacking)}."] if len(lacking) else []


def _renumbering(classes: Shaped[np.ndarray, " classes"], name: str) -> list[str]:
    if classes.dtype.kind == "U":
        return [f"{name}: classes are numbered from 0 in the order {listed(classes)}."]
    if np.array_equal(classes, np.arange(len(classes))):
        return []
    return [f"{name}: labels {listed(classes)} are renumbered 0 to {len(classes) - 1}, in order."]

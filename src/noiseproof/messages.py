"""Values within one-line messages: quoted, cut where they are long, and the name that was meant."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_LETTERS = 80
"""A longer value is cut here."""

LONGEST_PATH = 255
"""Letters of a path at most, so that every message that names it is a short line."""


def short(value: Any) -> str:
    """A value as Python writes it, on one line, of at most `MOST_LETTERS` letters."""
    # A list of a million numbers is cut before it is written.
    if isinstance(value, str | bytes):
        value = value[: MOST_LETTERS + 1]
    elif isinstance(value, list | tuple):
        value = value[:MOST_LETTERS]
    text = " ".join(repr(value).split())
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 3] + "..."


def did_you_mean(name: Any, allowed: Iterable[str]) -> str:
    """The sentence that offers the nearest allowed name; nothing where none is near."""
    near = difflib.get_close_matches(str(name)[:MOST_LETTERS], list(allowed), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def require_printable(path: Path | str) -> None:
    """Raises ValueError where a path is too long for a message, or would break its line."""
    text = str(path)
    if len(text) > LONGEST_PATH or not text.isprintable():
        raise ValueError(
            f"A path must be printable and of at most {LONGEST_PATH} letters, got {short(text)}."
        )

"""Values within one-line messages: quoted, and cut where they are long."""

from typing import Any

MOST_LETTERS = 80
"""A longer value is cut here."""


def short(value: Any) -> str:
    """A value as Python writes it, on one line, of at most `MOST_LETTERS` letters."""
    # A list of a million numbers is cut before it is written.
    if isinstance(value, str | bytes):
        value = value[: MOST_LETTERS + 1]
    elif isinstance(value, list | tuple):
        value = value[:MOST_LETTERS]
    text = " ".join(repr(value).split())
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 3] + "..."

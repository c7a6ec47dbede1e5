"""Values of a record from JSON: what is wrong is said in one line that names the file."""

import re
from typing import TypeVar

import msgspec

Value = TypeVar("Value")

MOST_LETTERS = 80
"""A longer value is cut here where a message quotes it."""


def decode(content: bytes | str, kind: type[Value], place: str) -> Value:
    """The value of a type that JSON stands for.

    Args:
        content: The JSON.
        kind: What it must be.
        place: Where it stands, for messages.

    Raises:
        ValueError: It is no JSON, or not as the type says.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except RecursionError:
        raise ValueError(f"{place}: must be JSON, but is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{place}: {_one_line(str(error))}.") from None


def encode(value: object) -> bytes:
    """A value as JSON, its fields and their entries on lines of their own.

    What is not finite becomes `null`.
    """
    return _lines(msgspec.json.decode(msgspec.json.encode(value)), depth=2) + b"\n"


def _lines(value: object, depth: int) -> bytes:
    if depth and value and isinstance(value, dict):
        parts = [msgspec.json.encode(k) + b": " + _lines(v, depth - 1) for k, v in value.items()]
        return b"{\n" + b",\n".join(parts) + b"\n}"
    if depth and value and isinstance(value, list):
        return b"[\n" + b",\n".join(_lines(item, depth - 1) for item in value) + b"\n]"
    return msgspec.json.encode(value)


def _one_line(message: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in message)
    # A quoted value or field name; what stands after it says where.
    long = rf"(['`])(.{{{MOST_LETTERS - 3}}}).*\1"
    return re.sub(rf"{long}( - at `[^`]*`)?$", r"\1\2...\1\3", text)

"""A case of fuzzing, and how files and values are damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LONGEST_MESSAGE = 500

Files = dict[str, bytes]
"""Path -> content."""


class Case(NamedTuple):
    """An input.

    Attributes:
        files: What lies in its folder.
        read: `folder -> None`, gives it to its reader and asserts what holds of what is taken.
    """

    files: Files
    read: Callable[[Path], None]


def require_short_line(said: str) -> None:
    """Raises AssertionError where a message is none, is long or has several lines."""
    assert said, "nothing said"
    assert said.isprintable(), repr(said[:1000])
    assert len(said) <= LONGEST_MESSAGE, said[:1000]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A file cut off, with bytes changed, moved or added, or with a number that lies."""
    way = rng.integers(7)
    # Headers lie at the beginning, and where formats have directories, at the end.
    place = int(rng.choice([rng.integers(len(content) + 1), min(len(content), rng.integers(300))]))
    place = len(content) - place if rng.random() < 0.2 else place
    if way == 0:
        return content[:place]
    if way == 1:
        lie = int(rng.choice([0, 1, 127, 255, 2**15, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1]))
        width = int(rng.choice([1, 2, 4, 8]))
        bytes_of_lie = (lie % 256**width).to_bytes(width, str(rng.choice(["little", "big"])))
        return content[:place] + bytes_of_lie + content[place + width :]
    if way == 2:
        other = int(rng.integers(len(content) + 1))
        return content[:place] + content[other : other + 40] + content[place + 40 :]
    if way == 3:
        return content[:place] + rng.bytes(int(rng.integers(1, 20))) + content[place:]
    if way == 4:
        return content + bytes(int(rng.integers(1, 1 << 16)))
    if way == 5:
        return rng.bytes(int(rng.integers(0, 600)))
    flipped = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        flipped[int(rng.integers(len(flipped)))] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


ODD_VALUES: tuple[Any, ...] = (
    *(-1, 0, 1, 3, -0.0, 0.5, 1e-300, 1e308, 2**31, 2**53, 2**63, 2**64, 10**30, 99_999_999_999),
    *(float("nan"), float("inf"), -float("inf"), True, None),
    *("abc", "", "a\nb", "x" * 20_000, "é\u2028", "\x00", "../x", "$x^{", "<b>", "nan"),
    *([], [[]], [None], [-1], ["abc"], [float("nan")], [2**63], [1e308], [0] * 3_000, [10] * 70),
    *({}, {"": 0}, {"a\nb": 1}, {"kind": "abc"}, {"x" * 20_000: 1}, {"kind": []}),
)
"""What no setting and no field of a record expects, and now and then what one does."""


def odd_value(rng: np.random.Generator) -> Any:
    """One of them."""
    return ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]


def changed(value: Any, rng: np.random.Generator) -> Any:
    """JSON with one value that is odd, missing or one too many."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        at = keys[int(rng.integers(len(keys)))]
        copied = value.copy()
        way = rng.random()
        if way < 0.08:
            del copied[at]
        elif way < 0.12 and isinstance(copied, dict):
            copied["extra"] = odd_value(rng)
        else:
            copied[at] = changed(value[at], rng)
        return copied
    return odd_value(rng)


def nested(depth: int, rng: np.random.Generator) -> str:
    """JSON, or a value of TOML, that is so deep."""
    if rng.random() < 0.5:
        return "[" * depth + "]" * depth
    return '{"a":' * depth + "1" + "}" * depth

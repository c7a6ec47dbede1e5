"""How far a file is trusted: no further than its size, its kind and its readers allow.

A header may announce more than the file could hold, an archive may unpack to more than the memory,
and a path may lead to a pipe that never ends. All readers look here first.
"""

import re
import stat
from collections.abc import Callable
from pathlib import Path

from noiseproof.messages import short

MOST_EXPANSION = 1_032
"""Bytes at most that one byte of Deflate stands for: 258 of them for two bits (RFC 1951)."""

CHUNK = 1 << 20
"""Bytes that are read at once, so that memory grows with what there is, not with what is said."""

Read = Callable[[int], bytes]
"""The `read` of an open file: as many bytes as it is told, fewer at the end."""


def require_regular(path: Path) -> None:
    """Raises ValueError where a path is no regular file, or no link to one: no pipe, no device."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path} is missing.") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} must be a regular file, got a folder, a pipe or a device.")


def require_possible(num_bytes: int, file_bytes: int, where: str) -> None:
    """Raises ValueError where a header announces more than `file_bytes` could be unpacked to."""
    if num_bytes > MOST_EXPANSION * file_bytes:
        raise ValueError(
            f"{where} must be whole, but announces {short(num_bytes)} bytes, "
            f"more than {file_bytes} can hold."
        )


def read_up_to(read: Read, num_bytes: int) -> bytearray:
    """The next bytes of a stream by its `read`, as many as there are up to `num_bytes`."""
    content = bytearray()
    while chunk := read(min(CHUNK, num_bytes - len(content))):
        content += chunk
    return content


def reason(error: BaseException | str) -> str:
    """What a library says of a damaged file, as one short line without a full stop."""
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return words if len(words) <= 120 else words[:117] + "..."


def shown(name: str) -> str:
    """A name within a file, for a message: as it is if it is plain and short, else quoted."""
    return name if re.fullmatch(r"[\w/ .-]{1,60}", name) else short(name)

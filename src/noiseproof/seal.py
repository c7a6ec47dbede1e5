"""JSON that carries its own checksum, and files that are on the disk before they are named."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from noiseproof.files import read_whole
from noiseproof.messages import short

FORMAT_VERSION = 1
"""Of sealed records; raised when an older reader would misread them."""

UNFINISHED = ".unfinished"
"""Ends the name of what is being written."""


def sha256(content: bytes) -> str:
    """The checksum in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def seal(record: dict[str, Any]) -> bytes:
    """A record as JSON with its format version, and at the end the checksum of all before it.

    Raises:
        ValueError: The record holds what JSON cannot, NaN and infinity among it.
    """
    versioned = {**record, "format_version": FORMAT_VERSION}
    versioned.pop("sha256", None)
    try:
        return _json({**versioned, "sha256": sha256(_json(versioned))})
    except (TypeError, ValueError) as error:
        raise ValueError(f"A record must hold what JSON can, got: {error}.") from error


def unseal(path: Path) -> dict[str, Any]:
    """The record of a sealed file, without its checksum.

    Raises:
        ValueError: The file is missing, any byte of it was changed, or its version is another.
    """
    content = read_whole(path)
    try:
        record = json.loads(content)
        digest, version = record.pop("sha256"), record["format_version"]
        sealed = seal(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} is damaged: it is cut off or no sealed JSON.") from None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} must have format version {FORMAT_VERSION}, got {short(version)}"
            f"{reader(record)}."
        )
    if content != sealed:
        raise ValueError(
            f"{path} is damaged: its text does not agree with its sha256, {short(digest)}."
        )
    return record


def reader(record: Any) -> str:
    """Which version reads a record of a newer format, as the end of a sentence."""
    provenance = record.get("provenance")
    version = provenance.get("code_version") if isinstance(provenance, dict) else None
    return f"; noiseproof {short(version)[1:-1]} or later reads it" if version else ""


def replace_files(contents: dict[Path, bytes]) -> None:
    """Write all files beside their names, then put them in place one after the other.

    Where that ends before any has its name the old files are as they were; where it ends later
    the new ones are all there, those without their name yet as `unfinished` says.
    """
    any_named = False
    try:
        for path, content in contents.items():
            unfinished(path).write_bytes(content)
            flush(unfinished(path))
        for path in contents:
            unfinished(path).replace(path)
            any_named = True
            flush(path.parent)
    except BaseException:
        if not any_named:
            for path in contents:
                unfinished(path).unlink(missing_ok=True)
        raise


def unfinished(path: Path) -> Path:
    """The name under which a file is written, beside its own."""
    return path.with_name(path.name + UNFINISHED)


def flush(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _json(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

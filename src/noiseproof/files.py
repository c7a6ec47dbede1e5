"""Files that are whole or not there: the one writer of what is left on a disk, and its reader."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 2**28
"""More than any record or theta holds: a longer file is not read."""


def read_whole(path: Path) -> bytes:
    """The content of a file.

    Raises:
        ValueError: There is none, it is no regular file, or it is longer than any record.
    """
    if not path.exists():
        raise ValueError(f"{path} is missing.")
    if not path.is_file():
        raise ValueError(f"{path} must be a file.")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} must hold at most {MOST_BYTES} bytes.")
    return path.read_bytes()


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file as a whole or, if anything fails, not at all; an old one stays until then.

    Raises:
        OSError: The folder is missing or cannot be written to, or the disk is full.
    """
    with written_beside(path, content) as temporary:
        temporary.replace(path)


def create_whole(path: Path, content: str | bytes) -> None:
    """Writes a file as a whole where there is none; of several that try at once one does.

    Raises:
        FileExistsError: There is one.
        OSError: As in `write_whole`.
    """
    with written_beside(path, content) as temporary:
        os.link(temporary, path)


def check_writable(path: Path) -> None:
    """Makes the folder of a file and writes beside it, so that no work is lost for want of a place.

    Raises:
        OSError: As in `write_whole`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path, b""):
        pass


@contextmanager
def written_beside(path: Path, content: str | bytes) -> Iterator[Path]:
    """A file on the disk beside another, gone when that is done."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        # Its own words name a temporary file.
        raise OSError(error.errno, error.strerror, str(path)) from None
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file readable by its owner alone; records are for everyone.
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """What a writer of this file left beside it that was killed before it was done."""
    return sorted(path.parent.glob(f".{path.name}.*"))

"""Downloads the standard data sets: checked, resumable, nothing half written.

A download grows in a `.part` file beside its place. Only when it is whole and its checksum is the
published one does it take its name, in one atomic step; a `.part` that an interruption left behind
is continued by an HTTP range request (RFC 9110, section 14). The server is not trusted: what comes
beyond the published size, or hardly comes at all, ends the download.
"""

import gzip
import http.client
import os
import queue
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from noiseproof.data.published import PUBLISHED, PublishedFile, sha256_of
from noiseproof.data.trust import reason
from noiseproof.messages import did_you_mean, require_printable, short

CHUNK = 1 << 18
"""Bytes between two reports of progress."""

TIMEOUT = 60.0
"""Seconds of silence, or of less than `SLOWEST`, after which a connection counts as broken."""

SLOWEST = 1_000
"""Bytes a second that must come; one byte now and then would keep a connection open for ever."""

MORE = 1.25
"""So many times the known size may come where gzip was wrapped anew; else the known size."""

AGAIN = "Fetch again to continue from where it stopped."

Progress = Callable[[int, int], None]
"""`(bytes_done, bytes_total)`, over all files of a data set."""


def fetch(
    name: str,
    data_dir: Path,
    progress: Progress = lambda _done, _total: None,
    *,
    published: Mapping[str, tuple[PublishedFile, ...]] = PUBLISHED,
) -> list[Path]:
    """Downloads the files of a data set that are not there yet.

    Args:
        name: A name in `published`.
        data_dir: The folder of all data sets; it is made if need be.
        progress: Called with bytes done and bytes in all, several times a second.
        published: Name -> files, with addresses and checksums.

    Returns:
        The files, each with the published checksum.

    Raises:
        ValueError: The name is unknown, a download is not the published file (it is deleted), or
            another file is in its place (it is left alone).
        ConnectionError: The server cannot be reached, refuses, or breaks off; what has arrived
            is kept for the next call.
    """
    if name not in published:
        names = ", ".join(published)
        raise ValueError(
            f"The data set to fetch must be one of {names}, got {short(name)}."
            + did_you_mean(name, published)
        )
    require_printable(data_dir)
    files = published[name]
    total, before = sum(file.num_bytes for file in files), 0
    for file in files:
        _fetch_file(file, data_dir, lambda done, before=before: progress(before + done, total))
        before += file.num_bytes
        progress(before, total)
    return [data_dir / file.path for file in files]


def _fetch_file(file: PublishedFile, data_dir: Path, report: Callable[[int], None]) -> None:
    path = data_dir / file.path
    if path.exists():
        if not _is_published(path, file):
            raise ValueError(f"{path} must be the published file, got another: move it away first.")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    _require_own(part)
    _download(file, part, report)
    if not _is_published(part, file):
        part.unlink()
        raise ValueError(
            f"{file.url} must have the SHA-256 {file.sha256}, got another file, which was deleted."
        )
    part.replace(path)


def _require_own(part: Path) -> None:
    """Raises ValueError where writing to `part` would write to another file, a pipe or a device."""
    if part.is_symlink() or (part.exists() and (not part.is_file() or part.stat().st_nlink > 1)):
        raise ValueError(f"{part} must be a file of its own, got a link: move it away first.")


def _is_published(path: Path, file: PublishedFile) -> bool:
    try:
        return sha256_of(path, of_content=file.of_content) == file.sha256
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False


def _most(file: PublishedFile) -> int:
    """Bytes of a download at most."""
    return int(MORE * file.num_bytes) if file.of_content else file.num_bytes


def _download(file: PublishedFile, part: Path, report: Callable[[int], None]) -> None:
    start = part.stat().st_size if part.exists() else 0
    start = start if start <= _most(file) else 0
    request = urllib.request.Request(
        file.url, headers={"Range": f"bytes={start}-"} if start else {}
    )
    try:
        with _answer(request) as response:
            missing = _receive(response, file, part, start, report)
    except urllib.error.HTTPError as error:
        # Nothing lies beyond what an earlier call kept; the checksum tells whether that is all.
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        answer = f"{error.code} {reason(error.reason)}"
        raise ConnectionError(f"{file.url} must be there, got {answer}.") from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        raise ConnectionError(f"{file.url} must be reachable, got: {reason(e)}. {AGAIN}") from None
    if missing > 0:
        raise ConnectionError(f"{file.url} must come whole, got {missing} bytes too few. {AGAIN}")


def _answer(request: urllib.request.Request) -> http.client.HTTPResponse:
    """The server's answer, its head read, which must take no longer than `TIMEOUT` in all.

    urllib counts the silence between two bytes only, so it is asked in a thread of its own.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=TIMEOUT))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=TIMEOUT)
    except queue.Empty:
        raise TimeoutError(f"no answer in {TIMEOUT:g} seconds") from None
    if isinstance(answer, ValueError):
        # An address to be redirected to that is none.
        raise ConnectionError(reason(answer))
    if isinstance(answer, Exception):
        raise answer
    return answer


def _receive(
    response: http.client.HTTPResponse,
    file: PublishedFile,
    part: Path,
    start: int,
    report: Callable[[int], None],
) -> int:
    """Appends what arrives to `part` and returns how many announced bytes did not."""
    # A server that knows no ranges answers 200 with the whole file, so we begin again.
    done = start if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
    length = _announced(response)
    received = 0
    with _opened(part, go_on=done > 0) as stream:
        for chunk in _chunks(response):
            received += len(chunk)
            if done + received > _most(file):
                part.unlink()
                raise ValueError(
                    f"{file.url} must have at most {_most(file)} bytes, got more: it was deleted."
                )
            stream.write(chunk)
            report(done + received)
    return 0 if length is None else length - received


def _announced(response: http.client.HTTPResponse) -> int | None:
    """How many bytes the server says that there are to come, if it says."""
    length = response.headers.get("Content-Length")
    if length is None:
        return None
    if not (length.isascii() and length.isdigit() and len(length) <= 18):
        raise ConnectionError(f"the length of the answer must be a number, got {short(length)}")
    return int(length)


def _opened(part: Path, *, go_on: bool) -> BinaryIO:
    """The file to write to, never one that a link leads to."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if go_on else os.O_TRUNC)
    return os.fdopen(os.open(part, flags | getattr(os, "O_NOFOLLOW", 0), 0o644), "wb")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """What arrives, as it arrives, as long as it does not arrive too slowly."""
    since, received = time.monotonic(), 0
    while chunk := response.read1(CHUNK):
        received += len(chunk)
        yield chunk
        seconds = time.monotonic() - since
        if seconds > TIMEOUT:
            if received < SLOWEST * seconds:
                raise TimeoutError(f"less than {SLOWEST} bytes a second")
            since, received = time.monotonic(), 0

"""Downloads the standard data sets: checked, resumable, nothing half written.

A download grows in a `.part` file beside its place. Only when it is whole and its checksum is the
published one does it take its name, in one atomic step; a `.part` that an interruption left behind
is continued by an HTTP range request (RFC 9110, section 14).
"""

import gzip
import http.client
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from noiseproof.data.published import PUBLISHED, PublishedFile, sha256_of

CHUNK = 1 << 18
"""Bytes between two reports of progress."""

TIMEOUT = 60.0
"""Seconds of silence after which a connection counts as broken."""

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
        raise ValueError(f"The data set to fetch must be one of {names}, got {name}.")
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
    _download(file.url, part, report)
    if not _is_published(part, file):
        part.unlink()
        raise ValueError(
            f"{file.url} must have the SHA-256 {file.sha256}, got another file, which was deleted."
        )
    part.replace(path)


def _is_published(path: Path, file: PublishedFile) -> bool:
    try:
        return sha256_of(path, of_content=file.of_content) == file.sha256
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False


def _download(url: str, part: Path, report: Callable[[int], None]) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            missing = _receive(response, part, start, report)
    except urllib.error.HTTPError as error:
        # Nothing lies beyond what an earlier call kept; the checksum tells whether that is all.
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        raise ConnectionError(f"{url} must be there, got {error.code} {error.reason}.") from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        raise ConnectionError(f"{url} must be reachable, got: {e}. {AGAIN}") from None
    if missing > 0:
        raise ConnectionError(f"{url} must come whole, got {missing} bytes too few. {AGAIN}")


def _receive(
    response: http.client.HTTPResponse, part: Path, start: int, report: Callable[[int], None]
) -> int:
    """Appends what arrives to `part` and returns how many announced bytes did not."""
    # A server that knows no ranges answers 200 with the whole file, so we begin again.
    resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
    length = response.headers.get("Content-Length")
    received = 0
    with part.open("ab" if resumed else "wb") as stream:
        while chunk := response.read(CHUNK):
            stream.write(chunk)
            received += len(chunk)
            report(received + start * resumed)
    return 0 if length is None else int(length) - received

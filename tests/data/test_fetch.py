"""Downloads from a server on loopback: whole, resumed, broken off, wrong."""

import contextlib
import gzip
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from noiseproof.data.fetch import CHUNK, fetch
from noiseproof.data.published import PUBLISHED, PublishedFile

CONTENT = np.random.default_rng(0).bytes(3 * CHUNK + 1234)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.site.files`, in the way that `server.site` says."""

    def do_GET(self) -> None:
        site = self.server.site
        asked = self.headers.get("Range")
        site.ranges.append(asked)
        if self.path not in site.files:
            self.send_error(404)
            return
        if site.answer:
            site.answer(self)
            return
        content = site.files[self.path]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        start = start if site.knows_ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if site.tells_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : site.breaks_at])

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output clean."""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site = SimpleNamespace(
        files={"/one.bin": CONTENT},
        url=f"http://127.0.0.1:{server.server_port}",
        ranges=[],
        knows_ranges=True,
        tells_length=True,
        breaks_at=None,
        answer=None,
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.site
    server.shutdown()
    thread.join()
    server.server_close()


def one_file(site: SimpleNamespace, sha256: str | None = None) -> dict:
    sha256 = sha256 or hashlib.sha256(CONTENT).hexdigest()
    url = f"{site.url}/one.bin"
    file = PublishedFile("set/one.bin", url, len(CONTENT), sha256, of_content=False)
    return {"set": (file,)}


def kept_part(data_dir: Path, content: bytes) -> Path:
    """What an interrupted download left behind."""
    part = data_dir / "set" / "one.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    return part


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_arrives_whole(site: SimpleNamespace, tmp_path: Path):
    paths = fetch("set", tmp_path / "new", published=one_file(site))
    assert paths == [tmp_path / "new" / "set" / "one.bin"]
    assert paths[0].read_bytes() == CONTENT
    assert names_in(tmp_path) == ["one.bin"]


def test_progress_grows_to_the_total(site: SimpleNamespace, tmp_path: Path):
    reports: list[tuple[int, int]] = []
    fetch("set", tmp_path, lambda *both: reports.append(both), published=one_file(site))
    done = [done for done, _ in reports]
    assert done == sorted(done)
    assert len(set(done)) >= 4
    assert reports[-1] == (len(CONTENT), len(CONTENT))


def test_progress_runs_over_all_files(site: SimpleNamespace, tmp_path: Path):
    site.files["/two.bin"] = b"second"
    (first,) = one_file(site)["set"]
    sha256 = hashlib.sha256(b"second").hexdigest()
    second = PublishedFile("set/two.bin", f"{site.url}/two.bin", 6, sha256, of_content=False)
    reports: list[tuple[int, int]] = []
    fetch("set", tmp_path, lambda *both: reports.append(both), published={"set": (first, second)})
    assert {total for _, total in reports} == {len(CONTENT) + 6}
    assert reports[-1][0] == len(CONTENT) + 6
    assert names_in(tmp_path) == ["one.bin", "two.bin"]


def test_a_part_is_continued(site: SimpleNamespace, tmp_path: Path):
    kept_part(tmp_path, CONTENT[:1000])
    reports: list[int] = []
    (path,) = fetch("set", tmp_path, lambda done, _: reports.append(done), published=one_file(site))
    assert site.ranges == ["bytes=1000-"]
    assert path.read_bytes() == CONTENT
    assert reports[0] > 1000


def test_a_whole_part_is_only_checked(site: SimpleNamespace, tmp_path: Path):
    kept_part(tmp_path, CONTENT)
    (path,) = fetch("set", tmp_path, published=one_file(site))
    assert path.read_bytes() == CONTENT
    assert names_in(tmp_path) == ["one.bin"]


def test_a_server_without_ranges_begins_again(site: SimpleNamespace, tmp_path: Path):
    site.knows_ranges = False
    kept_part(tmp_path, b"other bytes than the first ones")
    (path,) = fetch("set", tmp_path, published=one_file(site))
    assert path.read_bytes() == CONTENT


def test_a_connection_that_breaks_keeps_its_part(site: SimpleNamespace, tmp_path: Path):
    site.breaks_at = 5000
    with pytest.raises(ConnectionError, match=r"one\.bin must .* Fetch again to continue"):
        fetch("set", tmp_path, published=one_file(site))
    assert names_in(tmp_path) == ["one.bin.part"]
    site.breaks_at = None
    (path,) = fetch("set", tmp_path, published=one_file(site))
    assert site.ranges == [None, "bytes=5000-"]
    assert path.read_bytes() == CONTENT


def test_a_break_that_no_length_betrays(site: SimpleNamespace, tmp_path: Path):
    site.breaks_at, site.tells_length = 5000, False
    with pytest.raises(ValueError, match="another file, which was deleted"):
        fetch("set", tmp_path, published=one_file(site))
    assert names_in(tmp_path) == []


def test_a_wrong_file_is_refused(site: SimpleNamespace, tmp_path: Path):
    sha256 = "0" * 64
    expected = rf"one\.bin must have the SHA-256 {sha256}, got another file, which was deleted\."
    with pytest.raises(ValueError, match=expected):
        fetch("set", tmp_path, published=one_file(site, sha256))
    assert names_in(tmp_path) == []


def test_a_part_of_another_file_is_refused_and_forgotten(site: SimpleNamespace, tmp_path: Path):
    kept_part(tmp_path, b"other bytes than the first ones")
    with pytest.raises(ValueError, match="another file, which was deleted"):
        fetch("set", tmp_path, published=one_file(site))
    assert fetch("set", tmp_path, published=one_file(site))[0].read_bytes() == CONTENT


def test_not_found(site: SimpleNamespace, tmp_path: Path):
    site.files.clear()
    with pytest.raises(ConnectionError, match=r"one\.bin must be there, got 404 Not Found\."):
        fetch("set", tmp_path, published=one_file(site))
    assert names_in(tmp_path) == []


def test_nobody_answers(site: SimpleNamespace, tmp_path: Path):
    # Port 0 is reserved: nothing can listen there.
    file = PublishedFile("a", "http://127.0.0.1:0/a", 1, "0" * 64, of_content=False)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:0/a must be reachable, got: "):
        fetch("set", tmp_path, published={"set": (file,)})


def test_a_file_that_is_there_is_not_fetched_again(site: SimpleNamespace, tmp_path: Path):
    fetch("set", tmp_path, published=one_file(site))
    fetch("set", tmp_path, published=one_file(site))
    assert len(site.ranges) == 1


def test_another_file_in_the_place_is_left_alone(site: SimpleNamespace, tmp_path: Path):
    place = tmp_path / "set" / "one.bin"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"set/one\.bin must be the published file, got another"):
        fetch("set", tmp_path, published=one_file(site))
    assert place.read_bytes() == b"mine"


def test_other_gzip_wrapping_is_the_same_content(site: SimpleNamespace, tmp_path: Path):
    url, sha256 = f"{site.url}/one.gz", hashlib.sha256(CONTENT).hexdigest()
    table = {"set": (PublishedFile("one.gz", url, len(CONTENT), sha256, of_content=True),)}
    site.files["/one.gz"] = gzip.compress(CONTENT, compresslevel=1)
    (path,) = fetch("set", tmp_path, published=table)
    assert gzip.decompress(path.read_bytes()) == CONTENT


def test_damaged_gzip_is_refused(site: SimpleNamespace, tmp_path: Path):
    url, sha256 = f"{site.url}/one.gz", hashlib.sha256(CONTENT).hexdigest()
    table = {"set": (PublishedFile("one.gz", url, len(CONTENT), sha256, of_content=True),)}
    site.files["/one.gz"] = gzip.compress(CONTENT)[:-4]
    with pytest.raises(ValueError, match="another file, which was deleted"):
        fetch("set", tmp_path, published=table)
    assert names_in(tmp_path) == []


def test_an_unknown_name(tmp_path: Path):
    expected = "must be one of mnist, fashion-mnist, cifar-10, .*, svhn, got 'digits'"
    with pytest.raises(ValueError, match=expected):
        fetch("digits", tmp_path)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_published_table_is_well_formed(name: str):
    for file in PUBLISHED[name]:
        assert file.url.startswith("http")
        assert Path(file.url).name == Path(file.path).name
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.num_bytes > 1000


def with_headers(**headers: str) -> Callable[[Handler], None]:
    """An answer of some headers and no end."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(bytes(CHUNK))

    return answer


def test_an_endless_answer_ends_at_the_known_size(site: SimpleNamespace, tmp_path: Path):
    site.answer = with_headers()
    expected = rf"one\.bin must have at most {len(CONTENT)} bytes, got more: it was deleted\."
    with pytest.raises(ValueError, match=expected):
        fetch("set", tmp_path, published=one_file(site))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("length", ["abc", "-5", "1" * 5000, "1e3", "٣"])
def test_a_length_that_is_none(site: SimpleNamespace, tmp_path: Path, length: str):
    site.answer = with_headers(Content_Length=length.encode().decode("latin-1"))
    with pytest.raises(ConnectionError, match="length of the answer must be a number, got") as got:
        fetch("set", tmp_path, published=one_file(site))
    assert len(str(got.value)) < 500


@pytest.mark.parametrize(
    ("starts", "words"), [(True, "less than 1000 bytes a second"), (False, "no answer in 0.2 sec")]
)
def test_a_drip_is_no_download(
    site: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    starts: bool,
    words: str,
):
    def drip(handler: Handler) -> None:
        if starts:
            handler.send_response(200)
            handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.02)

    site.answer = drip
    monkeypatch.setattr("noiseproof.data.fetch.TIMEOUT", 0.2)
    before = time.monotonic()
    with pytest.raises(ConnectionError, match=f"got: {words}"):
        fetch("set", tmp_path, published=one_file(site))
    assert time.monotonic() - before < 5


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 404 " + b"long " * 1000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /one.bin\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"",
    ],
    ids=["words", "status", "headers", "reason", "loop", "file", "address", "chunks", "nothing"],
)
def test_answers_that_are_none_are_one_line(site: SimpleNamespace, tmp_path: Path, raw: bytes):
    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(raw)

    site.answer = answer
    with pytest.raises((ConnectionError, ValueError)) as caught:
        fetch("set", tmp_path, published=one_file(site))
    message = str(caught.value)
    assert "one.bin" in message
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_a_part_that_is_another_file_is_not_written_through(
    site: SimpleNamespace, tmp_path: Path, kind: str
):
    mine, part = tmp_path / "mine", tmp_path / "set" / "one.bin.part"
    mine.write_bytes(b"mine")
    part.parent.mkdir()
    if kind == "link":
        part.symlink_to(mine)
    elif kind == "hard link":
        part.hardlink_to(mine)
    else:
        os.mkfifo(part)
    with pytest.raises(ValueError, match=r"one\.bin\.part must be a file of its own, got a link"):
        fetch("set", tmp_path, published=one_file(site))
    assert mine.read_bytes() == b"mine"
    assert site.ranges == []


def test_a_part_longer_than_the_file_begins_again(site: SimpleNamespace, tmp_path: Path):
    kept_part(tmp_path, CONTENT + CONTENT)
    (path,) = fetch("set", tmp_path, published=one_file(site))
    assert path.read_bytes() == CONTENT
    assert site.ranges == [None]

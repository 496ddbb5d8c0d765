import contextlib
import hashlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dltrain.data import download as module
from dltrain.data.download import cache_folder, fetch
from dltrain.errors import ConfigError, DataError, DiskError

ROOT = Path(__file__).parents[2]
CONTENT = np.random.default_rng(0).bytes(1_000_000)
SUM = hashlib.sha256(CONTENT).hexdigest()


class Mirror(http.server.ThreadingHTTPServer):
    """A loopback server that sends `content`, and can be told how to fail."""

    daemon_threads = True

    def __init__(self, content=CONTENT, *, cuts=(), ranges=True, slow=None, offset=0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.slow, self.offset = content, ranges, slow, offset
        self.cuts = list(cuts)  # bytes that each of the first responses sends before the connection breaks
        self.requests = []  # (path, Range header) of each request
        self.encodings = set()
        self.url = f"http://127.0.0.1:{self.server_port}/folder/"

    def handle_error(self, request, client_address):
        """Ignore clients that were killed."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mirror = self.server
        requested = self.headers.get("Range")
        mirror.requests.append((self.path, requested))
        mirror.encodings.add(self.headers.get("Accept-Encoding"))
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and mirror.ranges else 0
        if not self.path.endswith("file.gz"):
            self.send_error(404)
            return
        if start and start >= len(mirror.content):
            self.send_error(416)
            return
        body = mirror.content[start:]
        self.send_response(206 if start else 200)
        if start:
            first = start + mirror.offset
            self.send_header("Content-Range", f"bytes {first}-{len(mirror.content) - 1}/{len(mirror.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = mirror.cuts.pop(0) if mirror.cuts else len(body)
        self.wfile.write(body[: min(cut, 500_000)])
        if mirror.slow:
            mirror.slow.wait(30)
        self.wfile.write(body[min(cut, 500_000) : cut])
        self.close_connection = True

    def log_message(self, *args):
        """Keep the test's output clean."""


@pytest.fixture
def serve():
    with contextlib.ExitStack() as stack:

        def start(*args, **options):
            mirror = stack.enter_context(Mirror(*args, **options))
            thread = threading.Thread(target=mirror.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(mirror.shutdown)
            return mirror

        yield start


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache" / "set"


def dead():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def fetched(*mirrors, sha256=SUM):
    return (fetch("set", {"file.gz": sha256}, mirrors) / "file.gz").read_bytes()


def test_file_is_downloaded_once(serve, cache):
    mirror = serve()
    assert fetched(mirror.url) == CONTENT
    assert fetched(mirror.url, sha256=SUM.upper()) == CONTENT
    assert mirror.requests == [("/folder/file.gz", None)]
    assert mirror.encodings == {"identity"}
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "file.gz"]


def test_cut_connection_is_resumed_where_it_broke(serve):
    mirror = serve(cuts=[300_000, 200_000])
    assert fetched(mirror.url) == CONTENT
    starts = [int(header.removeprefix("bytes=").removesuffix("-")) for _, header in mirror.requests[1:]]
    assert starts == [300_000, 500_000]


def test_server_without_ranges_starts_from_zero(serve):
    mirror = serve(cuts=[300_000], ranges=False)
    assert fetched(mirror.url) == CONTENT
    assert len(mirror.requests) == 2


def test_next_mirror_resumes_the_part(serve):
    first, second = serve(cuts=[400_000, 0]), serve()
    assert fetched(first.url, second.url) == CONTENT
    assert second.requests == [("/folder/file.gz", "bytes=400000-")]


def test_dead_and_wrong_mirrors_are_skipped(serve, cache):
    wrong, right = serve(CONTENT[:-1] + b"?"), serve()
    assert fetched(dead(), wrong.url.replace("/folder/", "/folder/absent/"), wrong.url, right.url) == CONTENT
    assert len(wrong.requests) == 2  # once for each address: a whole file with a wrong sum is not requested again
    assert right.requests == [("/folder/file.gz", None)]  # nothing of the wrong file was kept
    assert not (cache / "file.gz.part").exists()


def test_wrong_beginning_is_thrown_away(serve, cache):
    cache.mkdir(parents=True)
    (cache / "file.gz.part").write_bytes(b"rubbish")
    mirror = serve()
    assert fetched(mirror.url) == CONTENT
    assert [header for _, header in mirror.requests] == ["bytes=7-", None]


def test_whole_part_is_taken_without_another_byte(serve, cache):
    cache.mkdir(parents=True)
    (cache / "file.gz.part").write_bytes(CONTENT)
    mirror = serve()
    assert fetched(mirror.url) == CONTENT
    assert [header for _, header in mirror.requests] == [f"bytes={len(CONTENT)}-"]


def test_response_with_another_range_is_refused(serve, cache):
    cache.mkdir(parents=True)
    (cache / "file.gz.part").write_bytes(CONTENT[:1000])
    odd, right = serve(offset=5), serve()
    assert fetched(odd.url, right.url) == CONTENT
    assert [header for _, header in right.requests] == ["bytes=1000-"]


def test_damaged_copy_is_replaced(serve, cache):
    cache.mkdir(parents=True)
    (cache / "file.gz").write_bytes(CONTENT[:-1])
    assert fetched(serve().url) == CONTENT


def test_without_network_the_message_lists_all_attempts_and_what_to_do(serve, cache):
    gone, wrong, cut = dead(), serve(b"other bytes"), serve(cuts=[1000, 0])
    with pytest.raises(DataError) as caught:
        fetch("set", {"file.gz": SUM, "other.gz": SUM}, [gone, wrong.url, wrong.url + "absent", "ftp://x", cut.url])
    message = str(caught.value)
    for expected in (
        "set: file.gz could not be downloaded",
        f"{gone}/file.gz: no connection",
        f"{wrong.url}file.gz: wrong SHA-256 (a file of 11 bytes",
        "ftp://x/file.gz: not an http or https address",
        f"{cut.url}file.gz: the connection was cut",
        f"first 1000 bytes are kept in {cache}",
        "put file.gz, other.gz into FOLDER/set and set DLTRAIN_DATA=FOLDER",
        "data.root=FOLDER/set",
    ):
        assert expected in message
    assert not (cache / "file.gz").exists()


def test_http_error_is_named(serve):
    mirror = serve()
    with pytest.raises(DataError, match=r"absent\.gz: HTTP 404 Not Found"):
        fetch("set", {"absent.gz": SUM}, [mirror.url])


def test_stalled_server_times_out(serve, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", (1.0, 0.2))
    release = threading.Event()
    stalled, right = serve(slow=release, cuts=[0]), serve()
    begin = time.monotonic()
    assert fetched(stalled.url, right.url) == CONTENT
    assert right.requests
    assert time.monotonic() - begin < 15  # the stalled server would hold on for 30 s
    release.set()


def test_no_mirrors_is_an_error():
    with pytest.raises(DataError, match=r"data\.mirrors is empty"):
        fetched()


def test_unwritable_cache_is_a_disk_error(cache, serve):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    with pytest.raises(DiskError, match="DLTRAIN_CACHE"):
        fetched(serve().url)


@pytest.mark.parametrize(
    ("name", "file"), [("..", "a"), ("set", "../a"), ("set", "/etc/a"), ("", "a"), ("a/b", "c")]
)
def test_names_cannot_leave_the_folder(name, file):
    with pytest.raises(ConfigError, match="plain names"):
        fetch(name, {file: SUM}, ["http://127.0.0.1"])


def test_cache_is_chosen_by_the_environment(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("DLTRAIN_CACHE")
    assert "dltrain" in str(cache_folder())


def test_progress_goes_to_stderr_as_plain_lines(serve, capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    mirror = serve(cuts=[300_000])
    fetched(mirror.url)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        f"downloading {mirror.url}file.gz (1.0 MB)",
        f"downloading {mirror.url}file.gz (1.0 MB, resumed at 0.3 MB)",
    ]


def test_progress_on_a_terminal_is_a_bar(serve, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    fetched(serve().url)
    out, err = capsys.readouterr()
    assert not out
    assert "file.gz" in err
    assert "1.0/1.0 MB" in err


def start(url):
    code = f"from dltrain.data.download import fetch; fetch('set', {{'file.gz': '{SUM}'}}, ['{url}'])"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_processes_at_once_download_once(serve):
    release = threading.Event()
    mirror = serve(slow=release)
    first = start(mirror.url)
    wait_for(lambda: mirror.requests)
    second = start(mirror.url)
    assert "waiting for another process" in second.stderr.readline()
    release.set()
    errors = [process.communicate(timeout=30)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], errors
    assert mirror.requests == [("/folder/file.gz", None)]
    assert fetched() == CONTENT


def test_killed_download_is_resumed(serve, cache):
    release = threading.Event()
    mirror = serve(slow=release)
    part = cache / "file.gz.part"
    process = start(mirror.url)
    wait_for(lambda: part.exists() and part.stat().st_size > 400_000)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    release.set()
    kept = part.stat().st_size
    assert not (cache / "file.gz").exists()
    assert fetched(mirror.url) == CONTENT
    assert mirror.requests[1] == ("/folder/file.gz", f"bytes={kept}-")

"""What is too large, too slow, too many or not allowed is refused with its own status, and nothing else suffers."""

import base64
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from http_client import ask, head_of
from tiny_images import encoded, pixels

from dltrain.errors import ConfigError
from dltrain.serving.limits import Limits, Refused, check_depth
from dltrain.serving.metrics import Metrics
from dltrain.serving.server import serving
from dltrain.serving.settings import Settings

IMAGE = {"image": "aaaa"}


def connected(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=20)


def all_of(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(1 << 16):
        found += part
    return found


def test_rows_and_bodies_have_their_limits(digits_url):
    answer = ask(digits_url, "/predict", ["aaaa"] * 51)
    assert answer.status == 413 and "51 rows in one request, more than 50" in answer.error
    tensor = {"name": "image", "datatype": "UINT8", "shape": [51, 8, 8, 1], "data": []}
    assert ask(digits_url, "/v2/models/mein%20lauf/infer", {"inputs": [tensor]}).status == 413
    answer = ask(digits_url, "/predict", bytes(70_000), Content_Type="image/png")
    assert answer.status == 413 and "larger than 65,536 bytes" in answer.error
    with connected(digits_url) as connection:  # without a length that tells it before
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            connection.sendall(b"4000\r\n" + bytes(0x4000) + b"\r\n")
        assert all_of(connection).startswith(b"HTTP/1.1 413 ")


def test_bodies_and_headers_that_are_too_slow_end(digits_model, serve_it):
    with serve_it(digits_model, seconds=0.3, head_seconds=0.3) as url:
        sent = head_of("/predict", b"x" * 100)
        for part in (sent + b"x" * 50, sent[:30], b""):
            with connected(url) as connection:
                connection.sendall(part)
                time.sleep(0.15)
                connection.sendall(part and b"x")  # some progress does not help
                assert all_of(connection).startswith(b"HTTP/1.1 408 ")
        answered = ask(url, "/metrics").body.decode()
    assert 'dltrain_rejected_total{reason="slow"} 1' in answered and "dltrain_body_bytes 0" in answered


def test_a_connection_too_many_is_told_to_come_back(digits_model, serve_it):
    with serve_it(digits_model, connections=3) as url:
        held = [connected(url) for _ in range(3)]
        time.sleep(0.1)
        with connected(url) as connection:
            connection.sendall(head_of("/predict", b"{}") + b"{}")
            found = all_of(connection)
        assert found.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in found
        for connection in held:
            connection.close()
        time.sleep(0.1)
        assert ask(url, "/v2/health/ready").status == 200


class Waiting:
    """A model whose batches wait until they are let go."""

    def __init__(self, model) -> None:
        self._model, self.go, self.running = model, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._model, name)

    def compile(self, size):
        run = self._model.compile(size)

        def wait(*given):
            self.running.set()
            assert self.go.wait(20)
            return run(*given)

        return wait


def test_a_full_server_answers_503_and_serves_those_inside(digits_model, serve_it, image):
    model = Waiting(digits_model)
    with serve_it(model, queue=3) as url, ThreadPoolExecutor(3) as pool:
        inside = [pool.submit(ask, url, "/predict", image, Content_Type="image/png") for _ in range(3)]
        while "dltrain_requests_inside 3" not in ask(url, "/metrics").body.decode():
            time.sleep(0.01)
        refused = ask(url, "/predict", image, Content_Type="image/png")
        assert refused.status == 503 and refused.headers["retry-after"] == "1" and "3 requests" in refused.error
        assert ask(url, "/v2/health/live").status == 200
        model.go.set()
        assert [answer.result().status for answer in inside] == [200] * 3
        assert ask(url, "/predict", image, Content_Type="image/png").status == 200


def test_the_end_answers_what_has_arrived_and_takes_nothing_new(digits_model, serve_it, image):
    model = Waiting(digits_model)
    with ThreadPoolExecutor(4) as pool:
        with serve_it(model) as url:
            inside = [pool.submit(ask, url, "/predict", image, Content_Type="image/png") for _ in range(3)]
            while "dltrain_requests_inside 3" not in ask(url, "/metrics").body.decode():
                time.sleep(0.01)
            idle = connected(url)
            late = pool.submit(_when_closed, url, model.go.set)
        assert [answer.result().status for answer in inside] == [200] * 3
        assert late.result() and idle.recv(1) == b""
        idle.close()


def _when_closed(url: str, then) -> bool:
    """Wait until the server takes no connections any more."""
    for _ in range(1000):
        try:
            connected(url).close()
            time.sleep(0.01)
        except ConnectionRefusedError:
            then()
            return True
    return False


def test_an_answer_that_takes_too_long_is_given_up(digits_model, serve_it, image):
    model = Waiting(digits_model)
    with serve_it(model, seconds=0.2) as url:
        answer = ask(url, "/predict", image, Content_Type="image/png")
        assert answer.status == 503 and "no answer within 0.2 s" in answer.error
        model.go.set()


def test_a_client_that_leaves_is_not_predicted_for(digits_model, serve_it, image):
    model = Waiting(digits_model)
    with serve_it(model) as url:
        connections = [connected(url) for _ in range(2)]
        for connection in connections:
            connection.sendall(head_of("/predict", image, {"Content-Type": "image/png"}) + image)
            assert model.running.wait(20)
        while "dltrain_queue_requests 1" not in ask(url, "/metrics").body.decode():
            time.sleep(0.01)
        for connection in connections:
            connection.close()
        while "dltrain_disconnected_total 2" not in ask(url, "/metrics").body.decode():
            time.sleep(0.01)
        model.go.set()
        assert ask(url, "/predict", image, Content_Type="image/png").status == 200
        assert "dltrain_rows_total 2" in ask(url, "/metrics").body.decode()  # the first was already running


def test_the_memory_for_bodies_has_a_limit(digits_model, serve_it):
    with serve_it(digits_model, body=50_000, memory=60_000) as url, connected(url) as connection:
        connection.sendall(head_of("/predict", bytes(50_000)) + bytes(40_000))
        while "dltrain_body_bytes 40000" not in ask(url, "/metrics").body.decode():
            time.sleep(0.01)
        answer = ask(url, "/predict", bytes(30_000), Content_Type="image/png")
        assert answer.status == 503 and "memory" in answer.error and answer.headers["retry-after"]


def test_depth_is_counted_outside_texts_and_in_one_pass():
    check_depth(b'{"a": "[[[[[", "b": "\\"[[[["}' + b"[]" * 100, most=2)
    for deep in (b"[[[", b'{"a":{"b":[', b'["\\\\",[[', b'"a"[[['):
        with pytest.raises(Refused, match="deeper than 2"):
            check_depth(deep, most=2)
    for hard in (b'\\"' * 200_000, b'"' + b"\\" * 200_001, b'"\\' * 200_000):
        began = time.monotonic()
        check_depth(hard)
        assert time.monotonic() - began < 5  # one attempt per quote would take hours


def test_only_this_machine_reaches_a_server_without_a_token():
    assert Settings().access.hosts and Settings(host="::1").access.hosts
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", ""):
        with pytest.raises(ConfigError, match="set a token"):
            Settings(host=host)
    assert Settings(host="0.0.0.0", token="abc").access.hosts is None
    assert "abc" not in repr(Settings(token="abc"))


def test_a_token_is_asked_for_except_for_the_page_and_health(digits_model, serve_it, image):
    with serve_it(digits_model, token="geheim") as url:
        for path in ("/signature", "/v2", "/metrics", "/openapi.json", "/v2/models/x", "/nothing", "/predict"):
            assert ask(url, path).status == 401 and ask(url, path).headers["www-authenticate"] == "Bearer"
            for wrong in (
                "Bearer geheim2",
                "Bearer",
                "geheim",
                "Basic geheim",
                "Bearer gehei\xdf",
                "Bearer geheim geheim",
            ):
                assert ask(url, path, Authorization=wrong).status == 401
        for path in ("/", "/page.js", "/page.css", "/v2/health/live"):
            assert ask(url, path).status == 200
        assert ask(url, "/signature", Authorization="bearer geheim").status == 200
        assert ask(url, "/predict", image, Authorization="Bearer geheim", Content_Type="image/png").status == 200
        assert ask(url, "/openapi.json", Authorization="Bearer geheim").json["security"]


@pytest.mark.parametrize(("host", "origin", "status"), [
    ("localhost:1", "", 200), ("127.0.0.1", "", 200), ("[::1]:80", "", 200), ("LOCALHOST", "", 200),
    ("evil.example", "", 403), ("localhost.evil.example", "", 403), ("127.0.0.1.nip.io", "", 403), ("[", "", 403),
    ("localhost:8", "http://localhost:8", 200), ("localhost:8", "http://localhost:9", 403),
    ("localhost", "null", 403), ("localhost", "https://evil.example", 403),
    ("localhost", "http://localhost.evil.example", 403),
])  # fmt: skip
def test_other_websites_get_no_answers(digits_url, host, origin, status):
    answer = ask(digits_url, "/signature", Host=host, **({"Origin": origin} if origin else {}))
    assert answer.status == status and "access-control-allow-origin" not in answer.headers


def test_answers_have_headers_that_keep_the_page_to_itself(digits_url):
    for path in ("/", "/predict", "/nothing"):
        headers = ask(digits_url, path).headers
        assert "default-src 'none'" in headers["content-security-policy"] and headers["x-content-type-options"]
        assert "server" not in headers


def test_an_error_of_the_server_is_described_in_its_own_output_only(digits_model):
    class Broken(Waiting):
        def compile(self, size):
            def fail(*given):
                raise RuntimeError("secret detail")

            return fail

    said: list[str] = []
    with serving(Broken(digits_model), Settings(port=0, batch=1), warn=said.append) as url:
        answer = ask(url, "/predict", {"image": _png()})
    assert answer.status == 500 and "secret" not in answer.error and "secret detail" in said[0]


def test_a_prediction_that_is_not_finite_is_no_answer(digits_model, serve_it):
    class Infinite(Waiting):
        def compile(self, size):
            return lambda *given: {"class": np.zeros(size, np.int32), "probabilities": np.full((size, 10), np.nan)}

    with serve_it(Infinite(digits_model), batch=1) as url:
        answer = ask(url, "/predict", {"image": _png()})
    assert answer.status == 400 and "row 0: the probabilities is not finite" in answer.error


def _png() -> str:
    return base64.b64encode(encoded(pixels())).decode()


def test_metrics_are_in_the_format_of_prometheus():
    metrics = Metrics()
    metrics.requests.add('a"b\\c\n', "200")
    metrics.latency.observe(0.001)
    metrics.latency.observe(99)
    lines = metrics.text().splitlines()
    assert 'dltrain_requests_total{route="a\\"b\\\\c\\n",code="200"} 1' in lines
    assert "# TYPE dltrain_request_seconds histogram" in lines and "dltrain_disconnected_total 0" in lines
    assert 'dltrain_request_seconds_bucket{le="0.001"} 1' in lines
    assert 'dltrain_request_seconds_bucket{le="30.0"} 1' in lines
    assert 'dltrain_request_seconds_bucket{le="+Inf"} 2' in lines and "dltrain_request_seconds_count 2" in lines


def test_a_memory_smaller_than_a_body_is_refused():
    with pytest.raises(ConfigError, match="max_body"):
        Limits(body=2, memory=1)

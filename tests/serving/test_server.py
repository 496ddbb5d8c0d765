"""A server: requests at once, its end, and what keeps it from starting."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from fuzz import requests
from http_client import JSON, Connection, ask, head_of

from dltrain.errors import ConfigError
from dltrain.serving import server
from dltrain.serving.server import Settings, serve, serving


def test_requests_at_once_get_their_own_rows(table_url, table, flats):
    """Of 300 requests of random sizes some leave, some are wrong, and some are slow."""
    rows = [{**row, "photo": None} for row in flats]
    wanted, classes = table.predict(rows), table.spec.classes
    counts = dict.fromkeys(("right", "wrong", "refused", "left"), 0)

    async def one(number: int) -> None:
        rng = np.random.default_rng(number)
        chosen, kind = rng.integers(0, len(rows), rng.integers(1, 12)), rng.random()
        body = json.dumps([rows[i] for i in chosen]).encode()
        connection = await Connection(table_url).open()
        try:
            if kind < 0.1:
                sent = head_of("/predict", body) + body
                connection.writer.write(sent[: rng.integers(1, len(sent) + 1)])
                await asyncio.sleep(rng.random() / 20)
                counts["left"] += 1
            elif kind < 0.2:
                answer = await connection.post("/predict", body.replace(b'"rooms"', b'"room"'))
                counts["refused"] += answer.status == 400
            else:
                if kind < 0.3:
                    head = head_of("/predict", body)
                    connection.writer.write(head[:50])
                    await asyncio.sleep(rng.random() / 20)
                    connection.writer.write(head[50:] + body)
                    answer = await connection.read()
                else:
                    answer = await connection.post("/predict", body, JSON)
                given = answer.json["predictions"]
                shares = [[row[f"probability_{name}"] for name in classes] for row in given]
                right = np.allclose(shares, wanted["probabilities"][chosen], rtol=1e-4, atol=1e-6)
                counts["right" if right else "wrong"] += 1
        finally:
            connection.close()

    async def everybody() -> None:
        await asyncio.gather(*(one(number) for number in range(200)))
        await asyncio.sleep(0.05)

    asyncio.run(everybody())
    assert counts["wrong"] == 0 and sum(counts.values()) == 200 and min(counts["left"], counts["refused"]) > 5


@pytest.mark.parametrize("name", ["table", "digits"])
def test_the_description_names_what_is_answered(name, table_url, digits_url):
    url = table_url if name == "table" else digits_url
    described = ask(url, "/openapi.json").json
    assert described["openapi"].startswith("3.1") and described["paths"]["/predict"]["post"]["requestBody"]
    for path, methods in described["paths"].items():
        if "get" in methods and "infer" not in path:
            assert ask(url, path.replace(" ", "%20")).status == 200, path
    statuses = []
    for method, path, headers, body in requests(described, random.Random(name), 150):
        answer = ask(url, path, body if method != "GET" else None, method, **headers)
        statuses.append(answer.status)
        assert answer.status < 500, (path, headers, body, answer)
    assert 200 in statuses and 400 in statuses


def test_the_signature_describes_the_model(table_url, digits_url):
    found = ask(table_url, "/signature").json
    assert found["name"] == "flats" and found["classes"] == ["large", "middle", "small"] and found["limits"]["rows"]
    kinds = {field["name"]: field["kind"] for field in found["fields"]}
    assert kinds == {"rooms": "number", "sold": "date", "city": "category", "about": "text", "photo": "image"}
    city = next(field for field in found["fields"] if field["name"] == "city")
    assert city["levels"] == ["Oslo", "Paris", "Rome"] and city["optional"]
    (image,) = ask(digits_url, "/signature").json["fields"]
    assert image == {"name": "image", "kind": "image", "optional": False, "size": 8, "channels": 1}


def test_no_delay_is_added_by_the_sockets(digits_model):
    with serving(digits_model, Settings(port=0, batch=1)) as url:
        place = url.rpartition(":")[2]
        assert place.isdigit()
    found = server._bound(Settings(port=0))
    assert found.proto == socket.IPPROTO_TCP  # or asyncio does not switch Nagle's algorithm off, which adds 40 ms
    found.close()


def test_a_port_in_use_is_named(digits_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port={port}: cannot be used .*port=0 takes a free one"):
            serve(digits_model, Settings(port=port), say=print, warn=print)
    with pytest.raises(ConfigError, match=r"host=192\.0\.2\.1 port=0: cannot be used"):
        serve(digits_model, Settings(host="192.0.2.1", port=0, token="x"), say=print, warn=print)


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"pip install 'dltrain\[serve\]'"):
        server.check_installed()


@pytest.mark.slow
def test_sigterm_answers_what_has_arrived_and_ends_with_code_0(digits, image, tmp_path):
    """The command in a process of its own; a token of the environment is not shown."""
    words = [sys.executable, "-m", "dltrain", "serve", str(digits.path), "port=0", "batch=1", "delay=300"]
    variables = os.environ | {"DLTRAIN_TOKEN": "geheim"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
    ) as process:
        lines, answers = [], []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"mein lauf is served at (http://127\.0\.0\.1:\d+) ", line):
                break
        assert found, lines
        named = {"Authorization": "Bearer geheim", "Content_Type": "image/png"}
        ask_it = lambda: answers.append(ask(found[1], "/predict", image, **named))  # noqa: E731
        threads = [threading.Thread(target=ask_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        while (
            "dltrain_requests_inside 4" not in ask(found[1], "/metrics", **named).body.decode() and len(answers) < 4
        ):
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        rest = process.stdout.read()
    assert process.returncode == 0 and [answer.status for answer in answers] == [200] * 4
    assert "geheim" not in "".join(lines) + rest and rest == ""
    assert "compiled for batches of 1 in" in "".join(lines)


def test_the_command_refuses_what_it_cannot_serve(dltrain, digits, tmp_path):
    for words, code, message in (
        ((), 2, "name one run folder or export"),
        (("a", "b"), 2, "name one run folder or export"),
        ((str(tmp_path),), 2, "run folder"),
        ((str(digits.path), "host=0.0.0.0"), 2, "set a token"),
        ((str(digits.path), "port=70000"), 2, "port=70000"),
        ((str(digits.path), "max_rows=0"), 2, "max_rows=0"),
    ):
        result = dltrain("serve", *words)
        assert result.code == code and message in result.err, result.err

"""The server under load, and under wrong requests: nothing is mixed up, lost, or an error of the server."""

import asyncio
import contextlib
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from fuzz import requests
from http_client import JSON, Connection, ask, head_of

import dltrain as package
from dltrain.serving.open import served_run

pytest.importorskip("uvicorn")
pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SERVER = Path(__file__).parents[1] / "helpers" / "slow_server.py"
POOL = 400  # rows that requests are made of


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dltrain) -> Path:
    """A table of numbers, a category and missing values, and a run on it."""
    folder, rng = tmp_path_factory.mktemp("served"), np.random.default_rng(0)
    rooms, area = rng.integers(1, 9, 300), rng.normal(60, 20, 300).round(2)
    frame = pl.DataFrame({
        "rooms": [None if i % 9 == 4 else int(n) for i, n in enumerate(rooms)],
        "area": area,
        "city": rng.choice(["Rome", "Paris", "Oslo"], 300),
        "kind": [("small", "middle", "large")[min(2, int(a * n) // 200)] for a, n in zip(area, rooms, strict=True)],
    })  # fmt: skip
    frame.write_csv(folder / "train.csv")
    words = ("data=table", "data.path=train.csv", "data.target=kind", "model=mlp", "model.widths=[256,256]")
    result = dltrain(*words, "epochs=20", "quiet=true", "output_dir=flats", cwd=folder, figures=False)
    assert result.code == 0, result.err
    return folder / "flats"


@pytest.fixture(scope="module")
def run(folder):
    return package.open_run(folder)


@pytest.fixture(scope="module")
def pool() -> list[dict]:
    rng = np.random.default_rng(1)
    return [
        {
            "rooms": None if i % 7 == 3 else int(rng.integers(1, 9)),
            "area": round(float(rng.normal(60, 30)), 2),
            "city": str(rng.choice(["Rome", "Paris", "Oslo", "Lima"])),
        }
        for i in range(POOL)
    ]


@contextlib.contextmanager
def server(folder: Path, slowed: float = 0.0, **limits: float) -> Iterator[tuple[str, psutil.Process]]:
    """Serve a run in another process."""
    words = [f"{key}={value}" for key, value in limits.items()]
    command = [sys.executable, str(SERVER), str(folder), str(slowed), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
    assert process.returncode == 0


class Offline:
    """Requests for rows of the pool, and whether an answer is the prediction for them."""

    def __init__(self, run, pool: list[dict]) -> None:
        self.pool, self.name = pool, run.path.name
        self.found = run.predict(pool)
        self.arrays = run.bundle.encode(pool)
        self.classes = np.array(run.spec.classes)

    def request(self, rows: np.ndarray, form: str, number: int) -> tuple[str, bytes, dict[str, str]]:
        if form == "plain":
            return "/predict", json.dumps([self.pool[i] for i in rows]).encode(), JSON
        types = {"numbers": "FP32", "categories": "INT32"}
        inputs = [
            {"name": n, "datatype": types[n], "shape": [len(rows), v.shape[1]]} for n, v in self.arrays.items()
        ]
        path, about = f"/v2/models/{self.name}/infer", {"id": str(number), "inputs": inputs}
        if form == "json":
            for entry in inputs:
                entry["data"] = self.arrays[entry["name"]][rows].tolist()
            return path, json.dumps(about).encode(), JSON
        raw = [self.arrays[entry["name"]][rows].tobytes() for entry in inputs]
        for entry, content in zip(inputs, raw, strict=True):
            entry["parameters"] = {"binary_data_size": len(content)}
        about["parameters"] = {"binary_data_output": True}
        head = json.dumps(about).encode()
        return path, head + b"".join(raw), {"Inference-Header-Content-Length": str(len(head))}

    def is_right(self, answer, rows: np.ndarray, form: str, number: int) -> bool:
        if answer.status != 200:
            return False
        if form == "plain":
            given = answer.json["predictions"]
            names = [row["class"] for row in given]
            shares = np.array([[row[f"probability_{name}"] for name in self.classes] for row in given])
        else:
            size = int(answer.headers.get("inference-header-content-length", len(answer.body)))
            about = json.loads(answer.body[:size])
            if about["id"] != str(number):
                return False
            values, place = {}, size
            for entry in about["outputs"]:
                if "data" in entry:
                    values[entry["name"]] = entry["data"]
                    continue
                raw = answer.body[place : place + entry["parameters"]["binary_data_size"]]
                place += len(raw)
                if entry["datatype"] != "BYTES":
                    values[entry["name"]] = np.frombuffer(raw, {"INT32": "<i4", "FP32": "<f4"}[entry["datatype"]])
            names = self.classes[np.asarray(values["class"])]
            shares = np.reshape(values["probabilities"], (len(rows), -1))
        close = np.allclose(shares, self.found["probabilities"][rows], rtol=1e-4, atol=1e-6)
        return close and np.array_equal(names, self.classes[self.found["class"][rows]])


def quantiles(seconds: list[float]) -> str:
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


async def closed_loop(url: str, offline: Offline, *, clients: int, seconds: float, most: int, form: str = "binary"):
    """Let clients ask again as soon as they are answered; return the latencies and the number of rows."""
    latencies, rows_done, end = [], 0, time.monotonic() + seconds

    async def client(seed: int) -> None:
        nonlocal rows_done
        rng, connection = np.random.default_rng(seed), await Connection(url).open()
        opened.append(connection)
        while time.monotonic() < end:
            rows = rng.integers(0, POOL, rng.integers(1, most + 1))
            path, body, headers = offline.request(rows, form, seed)
            began = time.monotonic()
            answer = await connection.post(path, body, headers)
            latencies.append(time.monotonic() - began)
            assert offline.is_right(answer, rows, form, seed), answer
            rows_done += len(rows)

    opened: list[Connection] = []
    try:
        await asyncio.gather(*(client(seed) for seed in range(clients)))
    finally:
        for connection in opened:
            connection.close()
        await asyncio.sleep(0.01)
    return latencies, rows_done


@pytest.mark.parametrize("count", [10_000])
def test_concurrent_requests_are_answered_and_not_mixed_up(folder, run, pool, count, capsys):
    offline = Offline(run, pool)
    limits = {"queue": 2 * count, "connections": 2 * count, "seconds": 300, "head_seconds": 300}
    bad = (
        b'[{"rooms": NaN, "area": 1, "city": "Rome"}]',
        b'{"room": 1}',
        b"{",
        b'[{"rooms":"x","area":1,"city":"a"}]',
    )
    counts = dict.fromkeys(("right", "mixed", "lost", "refused", "left", "bad"), 0)
    latencies: list[float] = []

    async def one(number: int, connection: Connection, start: asyncio.Event) -> None:
        rng = np.random.default_rng(number)
        rows, kind = rng.integers(0, POOL, rng.integers(1, 50)), rng.random()
        form = str(rng.choice(["plain", "json", "binary"]))
        path, body, headers = offline.request(rows, form, number)
        await start.wait()
        began = time.monotonic()
        try:
            if kind < 0.1:
                answer = await connection.post("/predict", bad[number % len(bad)])
                counts["refused" if answer.status == 400 and answer.error else "bad"] += 1
                return
            if kind < 0.2:
                sent = head_of(path, body, headers) + body
                connection.writer.write(sent[: rng.integers(1, len(sent) + 1)])
                await asyncio.sleep(rng.random())
                counts["left"] += 1
                return
            if kind < 0.3:
                sent = head_of(path, body, headers) + body
                for part in np.array_split(np.frombuffer(sent, np.uint8), 5):
                    connection.writer.write(part.tobytes())
                    await asyncio.sleep(rng.random())
                answer = await connection.read()
            else:
                answer = await connection.post(path, body, headers)
                latencies.append(time.monotonic() - began)
            counts["right" if offline.is_right(answer, rows, form, number) else "mixed"] += 1
        except (OSError, asyncio.IncompleteReadError):
            counts["lost"] += 1
        finally:
            connection.close()

    async def everybody(url: str) -> float:
        gate, start = asyncio.Semaphore(200), asyncio.Event()

        async def opened() -> Connection:
            async with gate:
                return await Connection(url).open()

        connections = await asyncio.gather(*(opened() for _ in range(count)))
        tasks = [asyncio.ensure_future(one(i, connection, start)) for i, connection in enumerate(connections)]
        await asyncio.sleep(0)
        start.set()
        began = time.monotonic()
        await asyncio.gather(*tasks)
        return time.monotonic() - began

    with server(folder, **limits) as (url, _):
        took = asyncio.run(everybody(url))
        busy, rows = asyncio.run(closed_loop(url, offline, clients=32, seconds=5, most=32))
        alone, _ = asyncio.run(closed_loop(url, offline, clients=1, seconds=3, most=32))
        metrics = ask(url, "/metrics").body.decode()
    with capsys.disabled():
        print(
            f"\n{count} concurrent requests in {took:.1f} s, {count / took:.0f}/s, {quantiles(latencies)}: {counts}"
        )
        print(f"32 clients: {len(busy) / 5:.0f} requests/s, {rows / 5:.0f} rows/s, {quantiles(busy)}")
        print(f"1 client: {len(alone) / 3:.0f} requests/s, {quantiles(alone)}")
        print(f"bare loop over the jitted function: {bare_loop(run, offline, most=32)}")
    assert counts["mixed"] == counts["lost"] == counts["bad"] == 0 and sum(counts.values()) == count
    assert "dltrain_requests_inside 0" in metrics and "dltrain_body_bytes 0" in metrics


def bare_loop(run, offline: Offline, *, most: int, seconds: float = 3.0) -> str:
    """Run the same sizes without a server, each padded as the server does."""
    model = served_run(run)
    compiled = {size: model.compile(size) for size in (1, 4, 16, 64)}
    rng, latencies, done = np.random.default_rng(0), [], 0
    while sum(latencies) < seconds:
        count = int(rng.integers(1, most + 1))
        size = next(size for size in compiled if size >= count)
        arrays = {name: values[rng.integers(0, POOL, size)] for name, values in offline.arrays.items()}
        began = time.monotonic()
        compiled[size](arrays, np.arange(size) < count)
        latencies.append(time.monotonic() - began)
        done += count
    return (
        f"{len(latencies) / sum(latencies):.0f} calls/s, {done / sum(latencies):.0f} rows/s, {quantiles(latencies)}"
    )


def test_ten_times_the_capacity_keeps_the_throughput(folder, run, pool, capsys):
    offline, seconds, batch = Offline(run, pool), 15.0, 2
    row, (path, body, headers) = np.array([0]), offline.request(np.array([0]), "binary", 0)

    async def offered(url: str, rate: float) -> list[int]:
        """Ask at a fixed rate, on connections that are kept open; return the statuses."""
        statuses: list[int] = []
        free: list[Connection] = []

        async def one() -> None:
            connection = free.pop() if free else await Connection(url).open()
            answer = await connection.post(path, body, headers)
            if answer.status == 200:
                assert offline.is_right(answer, row, "binary", 0)
            elif answer.status == 503:
                assert answer.headers["retry-after"]
            statuses.append(answer.status)
            free.append(connection)

        began, tasks = time.monotonic(), []
        while (passed := time.monotonic() - began) < seconds:
            tasks += [asyncio.ensure_future(one()) for _ in range(int(passed * rate) - len(tasks))]
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
        for connection in free:
            connection.close()
        await asyncio.sleep(0.01)
        return statuses

    with server(folder, slowed=0.02, batch=batch, queue=16, connections=8000) as (url, process):
        peak = len(asyncio.run(closed_loop(url, offline, clients=8, seconds=6, most=1))[0]) / 6
        asyncio.run(offered(url, peak))  # warm
        before = process.memory_info().rss
        statuses = asyncio.run(offered(url, 10 * peak))
        after = process.memory_info().rss
    good = statuses.count(200) / seconds
    with capsys.disabled():
        print(f"\npeak {peak:.0f}/s; offered {len(statuses) / seconds:.0f}/s: {good:.0f}/s answered ", end="")
        print(f"({good / peak:.0%} of the peak), memory {before / 2**20:.0f} -> {after / 2**20:.0f} MiB")
    assert set(statuses) == {200, 503} and good >= 0.9 * peak
    assert after - before < 16 * 2**20


def test_slow_sockets_do_not_slow_the_others(folder, run, pool, capsys):
    offline = Offline(run, pool)
    path, body, headers = offline.request(np.arange(40), "json", 0)
    sent = head_of(path, body, headers) + body

    async def trickle(url: str, number: int, stop: asyncio.Event) -> None:
        connection = await Connection(url).open()
        place = 20 if number % 2 else len(sent) - len(body) + 20  # in the headers, or in the body
        connection.writer.write(sent[:place])
        while not stop.is_set():
            await asyncio.sleep(0.5 + number / 1000)
            connection.writer.write(sent[place : place + 1])
            place += 1
        connection.close()

    async def both(url: str) -> tuple[list[float], list[float]]:
        usual, beside = [], []
        for _ in range(3):
            usual += (await closed_loop(url, offline, clients=4, seconds=4, most=8))[0]
            stop = asyncio.Event()
            slow = [asyncio.ensure_future(trickle(url, number, stop)) for number in range(500)]
            await asyncio.sleep(2)
            beside += (await closed_loop(url, offline, clients=4, seconds=4, most=8))[0]
            stop.set()
            await asyncio.gather(*slow)
        return usual, beside

    with server(folder) as (url, _):
        usual, beside = asyncio.run(both(url))
    with capsys.disabled():
        print(f"\nalone {quantiles(usual)}; next to 500 slow sockets {quantiles(beside)}")
    assert np.quantile(beside, 0.99) < 2 * np.quantile(usual, 0.99)


@pytest.mark.parametrize("kind", ["table", "images"])
def test_requests_fuzzed_from_the_openapi_description_give_no_server_error(kind, folder, digits_run, rng, capsys):
    path, count, statuses, seed = folder if kind == "table" else digits_run.folder, 10_000, {}, rng.random()

    async def client(url: str, number: int, described: dict) -> None:
        draw, connection = random.Random(f"{seed}/{number}"), await Connection(url).open()
        for method, target, headers, body in requests(described, draw, count // 8):
            if connection.writer is None:
                await connection.open()
            connection.writer.write(head_of(target, body, headers).replace(b"POST", method.encode(), 1) + body)
            answer = await connection.read()
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            assert answer.status < 500 or answer.status == 503, (method, target, headers, body, answer)
            if answer.headers.get("connection") == "close":
                connection.close()
                connection.writer = None
        connection.close()

    async def everybody(url: str) -> None:
        described = json.loads(ask(url, "/openapi.json").body)
        await asyncio.gather(*(client(url, number, described) for number in range(8)))

    with server(path) as (url, _):
        asyncio.run(everybody(url))
    with capsys.disabled():
        print(f"\n{kind}: {sum(statuses.values())} fuzzed requests: {dict(sorted(statuses.items()))}")
    assert sum(statuses.values()) == count and statuses[200] > count / 20 and set(statuses) >= {200, 400, 404, 405}

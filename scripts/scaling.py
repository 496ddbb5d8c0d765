#!/usr/bin/env python3
"""Print what several devices and hosts cost (docs/scaling.md): `axes`, `hosts` or `figure FILE`."""

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dltrain.data.order import Pipeline
from dltrain.profiling import scaling
from dltrain.runs.checkpoint import MANIFEST, SEAL, name_of, problems

DEVICES, BATCH = 8, 32
HOSTS = (1, 10, 100, 1000)
PER_HOST = 64  # examples of a step
EXAMPLES = 1_000_000
HEARTBEAT = 10  # seconds


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def axes() -> None:
    """Print the bytes that each axis moves, and from where it pays."""
    link = scaling.LINKS[0]
    moved = []
    for net in scaling.NETWORKS:
        costs = [f(net, link, devices=DEVICES, batch=BATCH) for f in AXES]
        sent = [f"{cost.sent / 1e6:,.3g}" for cost in costs]
        moved.append([net.name, f"{net.parameters:,}", f"{net.flops / 1e6:,.3g}", *sent])
    table(["network", "parameters", "MFLOP per example", "data, MB", "fsdp, MB", "model, MB"], moved)
    names = [link.name for link in scaling.LINKS]
    table(["network", *names], [
        [net.name, *(f"{scaling.break_even(net, link, DEVICES):,.3g}" for link in scaling.LINKS)]
        for net in scaling.NETWORKS
    ])  # fmt: skip
    gains = []
    for net in (net for net in scaling.NETWORKS if net.summed):
        found = [scaling.gain_of_model(net, link, devices=DEVICES, batch=BATCH) for link in scaling.LINKS]
        gains.append([net.name, *(f"{gain:.2g}" for gain in found)])
    table(["network", *names], gains)


AXES = (scaling.data_axis, scaling.fsdp_axis, scaling.model_axis)


def hosts() -> None:
    """Do the work of one host of N that grows with N, and print its times."""
    rows = []
    for count in HOSTS:
        pipeline = Pipeline(np.arange(EXAMPLES, dtype=np.int32), PER_HOST * count, seed=0)
        pipeline.indices(0, 1)  # the permutation of the epoch
        share = milliseconds(lambda p=pipeline: p.indices(1, 8)[:, :PER_HOST]) / 8
        with tempfile.TemporaryDirectory() as folder:
            files, size, verify = written(Path(folder), count)
        row = [f"{count:,}", f"{PER_HOST * count:,}", f"{share:.3f}", f"{files:,}", f"{size / 1024:,.0f}"]
        rows.append([*row, f"{verify:.1f}", f"{2 * count:,}", f"{count / HEARTBEAT:,.1f}", "1"])
    head = ["hosts", "batch", "indices, ms per step", "files of a checkpoint", "manifest, KiB", "verify it, ms"]
    table([*head, "messages of a barrier", "heartbeats per second", "writers of logs"], rows)
    order = milliseconds(lambda: np.random.default_rng(0).permutation(np.arange(EXAMPLES, dtype=np.int32)), 3)
    print(f"order of an epoch of {EXAMPLES:,} examples: {order:.0f} ms on every host, whatever their number")


def written(folder: Path, count: int) -> tuple[int, int, float]:
    """Write a checkpoint as `count` processes leave it: (files, bytes of the manifest, ms to verify it).

    Each process has a database of its own (`ocdbt.process_K`), of a manifest and the data of its parts.
    """
    place, listed = folder / name_of(1), {}
    names = [f"arrays/{name}" for name in ("_METADATA", "_sharding", "manifest.ocdbt")]
    names += [f"arrays/ocdbt.process_{k}/{name}" for k in range(count) for name in ("manifest.ocdbt", "d/0")]
    for name in names:
        content = os.urandom(4096)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
        listed[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps({"step": 1, "about": {}, "meta": {}, "arrays": {}, "files": listed})
    (place / MANIFEST).write_text(text)
    (place / SEAL).write_text(hashlib.sha256(text.encode()).hexdigest())
    assert not problems(place)
    return len(names), len(text), milliseconds(lambda: problems(place))


def milliseconds(function, times: int = 5) -> float:
    """Return the median time of a call."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        found.append(1e3 * (time.perf_counter() - began))
    return float(np.median(found))


def figure(path: Path) -> None:
    """Draw the efficiency of data parallelism over the examples of a device."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(9.6, 5.4), layout="constrained")
    batches = np.unique(np.logspace(0, 5, 60).astype(int))
    for axis, net in zip(drawn.subplots(2, 3, sharex=True, sharey=True).flat, scaling.NETWORKS, strict=True):
        for link in scaling.LINKS:
            shares = [scaling.data_axis(net, link, devices=DEVICES, batch=int(b)).efficiency for b in batches]
            axis.semilogx(batches, shares, label=link.name)
        axis.axhline(0.5, color="grey", lw=0.8, ls=":")
        axis.set_title(net.name, fontsize=9)
        axis.set_ylim(0, 1)
        axis.set_xlabel("examples per device", fontsize=8)
        axis.set_ylabel("share of the step computing", fontsize=8)
    drawn.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    drawn.savefig(path, dpi=110)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["axes"]:
            axes()
        case ["hosts"]:
            hosts()
        case ["figure", path]:
            figure(Path(path))
        case _:
            sys.exit(__doc__)

"""`dltrain predict` for a file of many rows: time of reading, of the model and of writing, and its peak memory.

The model's time, with all blocks in memory, is compared with that of a bare loop: the same compiled function that
is called for one slice after another of arrays. In a command, a thread reads while the model predicts.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Setup, Table, ratios

TRAINED, COLUMNS = 5000, 8
PARTS = ("reading", "predicting", "writing", "bare loop", "all three together")


class _Read:
    """Blocks that were read before."""

    total, measure = 1, "file"

    def __init__(self, blocks: list[Any]) -> None:
        self._blocks = blocks

    def blocks(self) -> Iterator[Any]:
        return iter(self._blocks)

    def notes(self) -> tuple[str, ...]:
        return ()


def run(table: Table, setup: Setup) -> None:
    """Train a small network on a table, and predict for many rows."""
    from dltrain.data.records.open import open_records
    from dltrain.inference.predict import no_predictions, predict_records

    rows = 3000 if setup.tiny else 1_000_000
    with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch, contextlib.chdir(scratch):
        _write(Path("train.csv"), TRAINED, seed=0)
        for name, count in (("tenth", rows // 10), ("new", rows)):
            _write(Path(f"{name}.csv"), count, seed=1)
        opened = _trained(setup)
        parts: dict[str, list[float]] = {name: [] for name in PARTS}
        arrays = opened.bundle.encode(_frame(Path("new.csv")))
        opened.predict_file("tenth.csv", "out.csv")  # compiles
        about = {"keys": opened.config["data"]}
        records = open_records(Path("new.csv").absolute(), opened.bundle.encoder, opened.spec, **about)
        for _ in range(min(setup.rounds, 3)):
            start = time.perf_counter()
            blocks = list(records.blocks())
            parts["reading"].append(time.perf_counter() - start)
            empty = partial(no_predictions, opened.bundle)
            done = predict_records(opened.bundle.predict, _Read(blocks), "out.csv", empty=empty, overwrite=True)
            parts["predicting"].append(done.predicting)
            parts["writing"].append(done.writing)
            parts["bare loop"].append(_bare(opened.bundle, arrays))
            start = time.perf_counter()
            opened.predict_file("new.csv", "out.csv", overwrite=True)
            parts["all three together"].append(time.perf_counter() - start)
        case = f"{rows:,} rows"
        for name, seconds in parts.items():
            table.add("predict", case, name, "s", seconds)
        table.add("ratio", case, "predicting / bare loop", "x", ratios(parts["predicting"], parts["bare loop"]))
        for name, count in (("tenth", rows // 10), ("new", rows)):
            table.add("predict", f"{count:,} rows", "peak memory of the command", "MiB", [_peak(name)])


def _write(path: Path, count: int, *, seed: int) -> None:
    import polars as pl

    rng = np.random.default_rng(seed)
    numbers = {f"x{i}": rng.normal(size=count).round(4) for i in range(COLUMNS)}
    towns = rng.choice(["Ulm", "Bonn", "Kiel", "Jena"], count)
    target = {"kind": np.where(numbers["x0"] + numbers["x1"] > 0, "yes", "no")}
    pl.DataFrame({**numbers, "town": towns, **target}).write_csv(path)


def _frame(path: Path) -> Any:
    import polars as pl

    return pl.read_csv(path)


def _trained(setup: Setup) -> Any:
    import dltrain

    words = ("data=table", "data.path=train.csv", "data.target=kind", "model=mlp", "quiet=true", "output_dir=run")
    return dltrain.fit(*words, epochs=1, **{"model.widths": [8] if setup.tiny else [128, 128]})


def _bare(bundle: Any, arrays: Any) -> float:
    """Return the seconds of the compiled function alone."""
    import jax

    from dltrain.inference.given import batches

    function, size = bundle.compiled_decisions, bundle.prediction_batch
    given = bundle.prepared(arrays)
    start = time.perf_counter()
    waiting: list[Any] = []
    for batch, _ in batches(given, size):
        waiting.append(function(batch))
        if len(waiting) > 2:
            jax.tree.map(np.asarray, waiting.pop(0))
    jax.tree.map(np.asarray, waiting)
    return time.perf_counter() - start


def _peak(name: str) -> float:
    """Return the largest resident memory of the command, MiB."""
    words = [sys.executable, "-m", "dltrain", "predict", "run", f"input={name}.csv", "output=peak.csv"]
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    found = subprocess.run(
        [sys.executable, "-c", code, *words, "overwrite=true"], check=True, capture_output=True, text=True
    )
    scale = 1 if sys.platform == "darwin" else 1024
    return int(re.findall(r"\d+", found.stdout)[-1]) * scale / 2**20 if os.name == "posix" else float("nan")

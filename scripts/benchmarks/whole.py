"""Whole commands from start to end: an MLP on MNIST, by dltrain and by a Lightning program with Hydra."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import commands
from benchmarks.measure import Setup, Skip, Table, cores, ratios, require
from benchmarks.nets import FULL, TINY, batch_size, make_program, words

EPOCHS = 10
ROUNDS = 3  # at most: a minute each


def run(table: Table, setup: Setup) -> None:
    """Run the commands in turn; the compilation cache of dltrain is warm after the first, which is not timed."""
    net, epochs = (TINY[0], 1) if setup.tiny else (FULL[0], EPOCHS)
    title, rounds = f"{net.title}, {epochs} ep", min(setup.rounds, ROUNDS)
    found: dict[str, list[commands.Ended]] = {"dltrain": []}
    try:
        require("torch", "lightning", "hydra")
        found["Lightning + Hydra"] = []
    except Skip as reason:
        table.skip(f"whole, {title} by Lightning + Hydra", reason)
    with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as scratch:
        cwd = Path(scratch)
        data = cwd / "data.npz"
        if len(found) > 1:
            _export(data, make_program(net, setup, "steps=1"))
        for i in range(rounds + (not setup.tiny)):
            for name, ended in found.items():
                line = commands.dltrain(*words(net, setup, f"epochs={epochs}", f"output_dir=run{i}"))
                if name != "dltrain":
                    line = _lightning(net.dense, epochs, setup, data, i)
                ended.append(commands.run(line, cwd=cwd, DLTRAIN_CACHE=str(cwd / "cache")))
    for name, ended in found.items():
        counted = ended[-rounds:]
        table.add("whole", title, name, "s", [one.seconds for one in counted])
        table.add("whole", title, name, "MB", [one.memory for one in counted])
    if len(found) > 1:
        mine, theirs = (ended[-rounds:] for ended in found.values())
        times = ratios([one.seconds for one in theirs], [one.seconds for one in mine])
        table.add("ratio", title, "Lightning / dltrain, time", "x", times)
        memory = ratios([one.memory for one in mine], [one.memory for one in theirs])
        table.add("ratio", title, "dltrain / Lightning, memory", "x", memory)


def _export(path: Path, program: Any) -> None:
    """Write images and labels to a file that the Lightning program reads without a reader for idx files."""
    import numpy as np

    parts = program.parts
    splits = {name: parts.splits[name] for name in ("train", "validation", "test")}
    np.savez(path, inputs=parts.arrays["inputs"], targets=parts.arrays["targets"], **splits)


def _lightning(dense: tuple[int, ...], epochs: int, setup: Setup, data: Path, number: int) -> list[str]:
    program = Path(__file__).with_name("lightning_program.py")
    more = {
        "widths": f"[{','.join(map(str, dense))}]",
        "epochs": epochs,
        "batch_size": batch_size(setup),
        "threads": cores(),
        "data": data,
        "hydra.run.dir": f"lightning{number}",
    }
    return [sys.executable, str(program), *(f"{key}={value}" for key, value in more.items())]

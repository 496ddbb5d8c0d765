"""Runs dltrain, and notes which parts of arrays this process copies, writes, reads and gathers: OBSERVED/PID.jsonl.

With FAIL_AT=RANK the process of this number cannot write its part of any checkpoint after the first. With BLIND=1
it looks as if only process 0 saw the run folder.
"""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dltrain.cli.main import main
from dltrain.devices import hosts, mesh
from dltrain.report import finish
from dltrain.runs import parts, saver, together
from dltrain.runs.recorder import Recorder

phase = "training"


def note(what: str, name: str, whole: tuple[int, ...], held: list[tuple[int, ...]]) -> None:
    """Append a line: what was done with an array of this shape, and the shapes that this process holds of it."""
    with Path(os.environ["OBSERVED"], f"{os.getpid()}.jsonl").open("a") as file:
        found = {"rank": hosts.index(), "phase": phase, "what": what, "name": name, "whole": whole, "held": held}
        file.write(json.dumps(found) + "\n")


def shapes(array: Any) -> list[tuple[int, ...]]:
    """The shapes of the parts of an array that this process holds."""
    return [array.shape] if isinstance(array, np.ndarray) else [s.data.shape for s in array.addressable_shards]


def observed_copy(array: jax.Array, copied=saver.copied) -> jax.Array:
    copy = copied(array)
    note("copied" if array.is_fully_replicated else "copied divided", "", array.shape, shapes(copy))
    return copy


def observed_write(draft: Path, arrays: dict[str, jax.Array], index: int, write=parts.write_own) -> Any:
    divided = {a.shape for name, a in arrays.items() if name.startswith("params.") and a.shape != shapes(a)[0]}
    for live in jax.live_arrays():  # whatever else is in memory while this is written
        for held in shapes(live):
            if held in divided:
                note("live", "", held, [held])
    if str(index) == os.environ.get("FAIL_AT") and any(draft.parent.glob("step_*")):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(draft, arrays, index)


def observed_read(self: Any, path: Any, *, args: Any, restore=ocp.Checkpointer.restore) -> Any:
    found = restore(self, path, args=args)
    for name, array in found.items():
        note("read", name, array.shape, shapes(array))
    return found


def observed_gather(leaf: Any, gather=mesh._on_host) -> np.ndarray:
    if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        note("gathered", "", leaf.shape, [leaf.shape])
    return gather(leaf)


def blind(folder: Any, find=together.find_together) -> tuple[Path, list[bool]]:
    path, sees = find(folder)
    return path, [True, *[False] * (len(sees) - 1)]


def during(name: str, call: Any) -> Any:
    """Note that what happens in a call is not training, but part of `name`."""

    def inside(*args: Any) -> Any:
        global phase
        before, phase = phase, name
        try:
            return call(*args)
        finally:
            phase = before

    return inside


if __name__ == "__main__":
    saver.copied, parts.write_own, mesh._on_host = observed_copy, observed_write, observed_gather
    ocp.Checkpointer.restore = observed_read
    finish._on_host = during("report", finish._on_host)  # process 0 goes on alone with the whole state
    Recorder.histograms = during("histograms", Recorder.histograms)
    if os.environ.get("BLIND"):
        together.find_together = blind
    sys.exit(main())

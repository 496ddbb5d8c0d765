"""Reading metrics.jsonl again: what a run has recorded, checked against what its checkpoint knows of the file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.errors import CheckpointError
from dltrain.runs.sealed import read_bytes

Row = dict[str, Any]


@dataclass(frozen=True)
class History:
    """The rows of a metrics.jsonl up to a step."""

    rows: list[Row]
    lines: list[bytes]  # as they stand in the file, one for each row
    problem: str = ""  # what is wrong with the file; "" if it is intact


class Extent:
    """How far a metrics.jsonl is written: the number of its rows, and their SHA-256."""

    def __init__(self) -> None:
        """Begin with an empty file."""
        self._rows, self._digest = 0, hashlib.sha256()

    def add(self, line: bytes) -> None:
        """Count a row, with its line end."""
        self._rows += 1
        self._digest.update(line)

    def state(self) -> dict[str, Any]:
        """Return it for a checkpoint or a summary."""
        return {"rows": self._rows, "sha256": self._digest.hexdigest()}


def read_history(path: Path, *, until: int | None = None, extent: Mapping[str, Any] | None = None) -> History:
    """Read the rows of a metrics.jsonl; a last line that was cut by a crash is left out.

    Args:
        path: the file; a missing one has no rows.
        until: the last step to keep; None for all.
        extent: what `Extent.state` returned when the file had the rows that it must have.

    Raises:
        CheckpointError: it is not a file.
    """
    lines = (read_bytes(path) if path.exists() else b"").split(b"\n")
    lines, cut = [line + b"\n" for line in lines[:-1]], lines[-1]
    found = [_row(line) for line in lines]
    problem = ""
    if extent is not None:
        written, known = Extent(), lines[: extent["rows"]]
        for line in known:
            written.add(line)
        if len(known) < extent["rows"]:
            problem = f"it has {len(known)} of {extent['rows']} rows"
        elif written.state() != extent:
            problem = f"its first {extent['rows']} rows are not those that were written"
        elif until is None and len(lines) > extent["rows"]:
            problem = f"it has {len(lines)} rows instead of {extent['rows']}"
    if bad := next((number for number, row in enumerate(found, 1) if row is None), None):
        problem = problem or f"line {bad} is not a row"
    if cut and until is None and _row(cut) is None:
        problem = problem or "its last line is cut"
    kept = [
        (row, line)
        for row, line in zip(found, lines, strict=True)
        if row is not None and (until is None or row["step"] <= until)
    ]
    return History([row for row, _ in kept], [line for _, line in kept], problem)


def read_metrics(path: Path, *, extent: Mapping[str, Any] | None) -> list[Row]:
    """Read every row, or raise CheckpointError if the file is missing or damaged."""
    if not path.exists():
        raise CheckpointError(f"{path} cannot be read: it is missing")
    found = read_history(path, extent=extent)
    if found.problem:
        raise CheckpointError(f"{path} is damaged, or was edited: {found.problem}")
    return found.rows


def _row(line: bytes) -> Row | None:
    """Return a row with its step, its split, and numbers; None for anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("split"), str):
        return None
    values = [value for name, value in row.items() if name != "split"]
    whole = isinstance(row.get("step"), int) and all(isinstance(v, int | float | None) for v in values)
    return row if whole else None


def as_columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return rows of metrics as arrays by name, NaN where a value was not recorded."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: np.array([row["step"] for row in rows], int)
        if name == "step"
        else np.array([np.nan if row.get(name) is None else row[name] for row in rows], float)
        for name in names
    }

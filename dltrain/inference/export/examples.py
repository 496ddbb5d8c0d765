"""Real examples to check an export on: of the data of the run, of a file, or those that an export keeps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.build.data import open_source
from dltrain.build.parts import Parts
from dltrain.config.call import Composed
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.texts.encode import TextEncoder
from dltrain.errors import DataError
from dltrain.inference.bundle import Bundle
from dltrain.inference.given import given_inputs
from dltrain.runs.files import Files
from dltrain.types import by_name

FILE = "examples.npz"
COUNT = 256
ORDER = ("test", "validation", "train")  # splits, the first that has examples first


@dataclass(frozen=True)
class Examples:
    """Examples of the data.

    Attributes:
        inputs: arrays behind the host halves of the preprocessing, [N, ...] by name.
        origin: where they are from, for people.
        rows: the same examples as rows of a table, if the data is one; None if it is not.
    """

    inputs: Mapping[str, np.ndarray]
    origin: str
    rows: list[dict[str, Any]] | None = None


def of_run(bundle: Bundle, parts: Parts, composed: Composed) -> Examples:
    """Take examples of the data of a run: of test, filled up from validation and train."""
    chosen, names = [], []
    for split in ORDER:
        indices, room = np.sort(np.asarray(parts.splits[split])), COUNT - sum(map(len, chosen))
        if room > 0 and len(indices):
            spread = np.linspace(0, len(indices) - 1, min(room, len(indices))).astype(int)
            chosen.append(indices[spread])
            names.append(split)
    indices = np.concatenate(chosen)
    inputs = _checked(parts.source.read(indices)["inputs"], bundle)
    return Examples(
        inputs,
        f"the run's {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}",
        _rows(bundle, composed, indices),
    )


def of_file(bundle: Bundle, path: str) -> Examples:
    """Read examples from an .npz file with an array for each input, [N, ...]; of a single input its name is free.

    Raises:
        DataError: it cannot be read, or lacks an input.
    """
    try:
        with np.load(Path(path).expanduser(), allow_pickle=False) as saved:
            arrays = {name: saved[name][:COUNT] for name in saved.files}
    except (OSError, ValueError, EOFError, KeyError, AttributeError) as error:
        raise DataError(f"examples={path}: cannot be read as an .npz file of arrays ({error})") from error
    names = list(bundle.raw_spec.inputs)
    if len(names) == 1 and names[0] not in arrays and len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    if lost := [name for name in names if name not in arrays]:
        raise DataError(f"examples={path}: has no array {lost[0]}; the inputs are {', '.join(names)}")
    return Examples(_checked({name: arrays[name] for name in names}, bundle), path)


def to_npz(examples: Examples, decisions: Mapping[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of examples.npz: inputs, rows as JSON, and the decisions; `kept`, bool [N], are written."""
    arrays = {f"inputs.{name}": array[kept] for name, array in examples.inputs.items()}
    arrays |= {f"outputs.{name}": array[kept] for name, array in decisions.items()}
    if examples.rows is not None:
        rows = [row for row, keep in zip(examples.rows, kept, strict=True) if keep]
        arrays["rows"] = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    return arrays


def write(folder: Files, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write examples.npz into a new folder, and return its content."""
    with folder.create(FILE) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return (folder.path / FILE).read_bytes()


def from_npz(path: Path, bundle: Bundle) -> tuple[Examples, dict[str, np.ndarray]]:
    """Read what `to_npz` returned: examples, and the decisions that were exported."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        rows = json.loads(bytes(arrays["rows"]).decode()) if "rows" in arrays else None
        inputs = {name: arrays[f"inputs.{name}"] for name in bundle.raw_spec.inputs}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path} cannot be read: it is damaged ({error})") from error
    decisions = {name[8:]: array for name, array in arrays.items() if name.startswith("outputs.")}
    return Examples(_checked(inputs, bundle), "the export itself", rows), decisions


def _checked(inputs: Any, bundle: Bundle) -> dict[str, np.ndarray]:
    spec = bundle.array_spec
    found = by_name(given_inputs(inputs, spec, bundle.preprocess), spec.inputs) if inputs is not None else {}
    return {name: np.asarray(array) for name, array in found.items()}


def _rows(bundle: Bundle, composed: Composed, indices: np.ndarray) -> list[dict[str, Any]] | None:
    """Return these examples as rows with the columns that the encoder takes, if the source is a table in memory."""
    encoder = bundle.preprocess.encoder
    if not isinstance(encoder, TableEncoder | TextEncoder):
        return None
    source = open_source(composed.config["data"], composed.trust, task=bundle.spec.task)
    frame = getattr(source, "frame", None)
    return None if frame is None else plain_rows(frame[indices], encoder)


def plain_rows(frame: Any, encoder: TableEncoder | TextEncoder) -> list[dict[str, Any]]:
    """Return rows of a polars frame in values that JSON holds; dates are written as in the files of the run."""
    import polars as pl

    columns = encoder.columns if isinstance(encoder, TableEncoder) else (encoder.column,)
    found = []
    for name in columns:
        values = frame[name]
        if values.dtype.is_temporal():
            dates = encoder.dates if isinstance(encoder, TableEncoder) else {}
            format = (dates.get(name, {}).get("format") or "%Y-%m-%d").replace("%#z", "+00:00")
            values = values.dt.to_string(format)
        elif not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.String)):
            values = values.cast(pl.String)
        found.append(values.fill_nan(None) if values.dtype.is_float() else values)
    return pl.DataFrame(found).to_dicts()

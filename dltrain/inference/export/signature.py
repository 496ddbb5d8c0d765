"""What signature.json says about an export: inputs, outputs, fitted values and their hashes, versions, files."""

import calendar
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dltrain.config.schema import split_node
from dltrain.data.encoders import NumbersEncoder, encoder_for
from dltrain.data.preprocess import Offset
from dltrain.data.preprocess.step import has_host
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.texts.encode import TextEncoder
from dltrain.devices import runtime
from dltrain.errors import CheckpointError
from dltrain.inference.bundle import Bundle
from dltrain.runs.sealed import read_sealed
from dltrain.types import Feature, Kind

FILE = "signature.json"
MARK = "dltrain export"
VERSION = 1
MONTHS = (
    6  # for which a newer jax reads an export: docs.jax.dev/en/latest/export/export.html#compatibility-guarantees
)

UNITS = {
    Kind.NUMBERS: "units of the data",
    Kind.SEQUENCE: "units of the data",
    Kind.IMAGE: "levels of the pixels, as in the data",
    Kind.TOKENS: "numbers of tokens, their places in the vocabulary",
    Kind.NGRAMS: "buckets of n-grams from 1; 0 is padding",
    Kind.CATEGORY: "number of the class, its place in the vocabulary",
    Kind.CATEGORIES: "numbers of levels from 1; 0 is a level that is not known",
    Kind.LENGTH: "number of steps",
    Kind.POSITION: "steps",
    Kind.LABELS: "1 for each label that is true",
}
MEANINGS = {
    "class": "number of the class, its place in classes",
    "probability": "probability of the second class, 0 to 1",
    "probabilities": "probability of each class or label, 0 to 1",
    "labels": "1 for each label that is likely",
    "mask": "number of the class of each pixel",
}


def describe(bundle: Bundle, shapes: Mapping[str, Any], *, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the signature says about the model.

    Args:
        bundle: the model.
        shapes: what the exported function returns.
        config: the config of the run, which names the task.
    """
    spec, arrays = bundle.raw_spec, bundle.array_spec
    return {
        "task": {"name": str(spec.task), "node": split_node("task", config["task"])[0]},
        "quantiles": list(spec.task.quantiles),
        "inputs": {name: _input(feature) for name, feature in arrays.inputs.items()},
        "outputs": {name: _output(name, shape) for name, shape in shapes.items()},
        "targets": {name: feature.to_json() for name, feature in spec.targets.items()},
        "classes": list(spec.classes),
        "labels": list(spec.labels),
        "spec": spec.to_json(),
        "encoder": describe_encoder(bundle),
        "host": {name: _host(chain.steps) for name, chain in bundle.preprocess.inputs.items() if chain.steps},
        "preprocessing": bundle.preprocess.to_json(),
        "hashes": _hashes(bundle),
        "precision": "float32" if bundle.precision.compute is None else str(np.dtype(bundle.precision.compute)),
        "batch": "the first dimension of inputs and outputs, any number of examples",
        "versions": runtime.versions(),
    }


def written(today: date | None = None) -> dict[str, str]:
    """Return when the export is written, and until when a newer jax reads it."""
    day = today or datetime.now(UTC).date()
    month = day.month - 1 + MONTHS
    year, month = day.year + month // 12, month % 12 + 1
    until = date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
    return {"written": day.isoformat(), "readable_until": until.isoformat()}


def file_hashes(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of each file."""
    return {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()}


def read_signature(folder: Path) -> dict[str, Any]:
    """Read and check the signature of an exported folder.

    Raises:
        CheckpointError: it is missing or damaged, or another version of dltrain wrote it.
    """
    found = read_sealed(folder / FILE)
    if found.get("format") != MARK:
        raise CheckpointError(f"{folder / FILE}: was not written by dltrain export")
    if found.get("version") != VERSION:
        raise CheckpointError(
            f"{folder / FILE}: version {found.get('version')!r} is not known; this dltrain reads version {VERSION}"
        )
    kinds: dict[str, Any] = {
        "inputs": dict,
        "outputs": dict,
        "files": dict,
        "host": dict,
        "spec": dict,
        "task": dict,
    }
    kinds |= {"versions": dict, "readable_until": str, "formats": list, "tolerance": float}
    for key, kind in kinds.items():
        if not isinstance(found.get(key), kind):
            raise CheckpointError(f"{folder / FILE} is damaged: {key} is {found.get(key)!r:.40}")
    return found


def _input(feature: Feature) -> dict[str, Any]:
    """Describe an input of the compiled model; null stands for the number of examples."""
    dtype = str(jax.dtypes.canonicalize_dtype(feature.dtype))
    about = {"shape": [None, *feature.shape], "dtype": dtype, "unit": UNITS.get(feature.kind, "")}
    more = {name: value for name, value in feature.to_json().items() if name not in ("shape", "dtype") and value}
    return about | more


def _output(name: str, shape: Any) -> dict[str, Any]:
    unit = MEANINGS.get(name, "units of the target")
    return {"shape": [None, *map(int, shape.shape[1:])], "dtype": str(shape.dtype), "unit": unit}


def describe_encoder(bundle: Bundle) -> dict[str, Any] | None:
    """Return what load.py needs to encode records; None if it takes arrays."""
    found = bundle.preprocess.encoder or encoder_for(bundle.raw_spec)
    if isinstance(found, TableEncoder):
        names = {name: found.input_of(name) for name in (*found.texts, *found.images)}
        kinds = {"numbers": "numbers", "categories": "categories", **names}
        return {"kind": "table", "inputs": kinds, "fitted": dict(found.to_json())}
    if isinstance(found, TextEncoder):
        return {"kind": "texts", "fitted": dict(found.to_json())}
    if isinstance(found, NumbersEncoder):
        fitted = {"names": list(found.names), "dtype": found.dtype}
        return {"kind": "numbers", "inputs": {"numbers": bundle.raw_spec.input_name}, "fitted": fitted}
    return None


def _host(steps: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Describe the host halves: load.py applies offsets; of others it is given what they return."""
    halves = [step for step in steps if has_host(step)]
    return [
        {"kind": "offset", **step.to_json()} if isinstance(step, Offset) else {"kind": type(step).__name__.lower()}
        for step in halves
    ]


def _hashes(bundle: Bundle) -> dict[str, str]:
    """Return the SHA-256 of what was fitted: of each vocabulary and list of levels, and of the preprocessing."""
    features = {**bundle.raw_spec.inputs, **bundle.raw_spec.targets}
    found = {name: f.vocabulary or f.levels for name, f in features.items() if f.vocabulary or f.levels}
    return {name: _hash(value) for name, value in {**found, "preprocessing": bundle.preprocess.to_json()}.items()}


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

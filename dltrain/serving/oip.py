"""Tensors and messages of the Open Inference Protocol v2 over HTTP, with the binary tensor extension.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and extension_binary_data.md of Triton: a JSON header of `Inference-Header-Content-Length` bytes, then the raw
tensors in the order of the header, little-endian; a text in a BYTES tensor follows its length, 4 bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain import __version__
from dltrain.serving.limits import Limits, Refused
from dltrain.serving.model import Served, Tensor
from dltrain.serving.parse import dump_json, parse_json
from dltrain.serving.tensors import DATATYPES, raw_of, read_input

HEADER = "inference-header-content-length"
VERSION = "1"
CLASS_NAME = "class_name"
"""An output besides the decisions, for models with classes: their names."""


@dataclass(frozen=True)
class Asked:
    """An inference request: its arrays, and which outputs in which form.

    Attributes:
        arrays: by the names that the request uses; BYTES as a list of bytes.
        outputs: name -> whether it is returned as raw bytes.
        id: to be returned; None if there is none.
    """

    arrays: Mapping[str, Any]
    outputs: Mapping[str, bool]
    id: str | None


def server_metadata() -> dict[str, Any]:
    """Return what `GET /v2` returns."""
    return {"name": "dltrain", "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(model: Served) -> dict[str, Any]:
    """Return what `GET /v2/models/M` returns."""
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "dltrain_jax",
        "inputs": [_described(tensor) for tensor in model.inputs],
        "outputs": [_described(tensor) for tensor in all_outputs(model)],
    }


def all_outputs(model: Served) -> tuple[Tensor, ...]:
    """Return the decisions, and the names of classes where they are one class per example."""
    named = [t for t in model.outputs if t.name == "class" and model.classes]
    return (*model.outputs, *(Tensor(CLASS_NAME, "object", t.shape) for t in named))


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": DATATYPES.get(tensor.dtype, "BYTES"), "shape": [-1, *tensor.shape]}


def parse_request(body: bytes, header: str | None, *, model: Served, limits: Limits) -> Asked:
    """Read an inference request.

    Args:
        body: JSON, or JSON and raw tensors.
        header: the value of Inference-Header-Content-Length, if there is one.
        model: the model that is asked.
        limits: of the rows.

    Raises:
        Refused: 400, says what was expected.
    """
    length = len(body) if header is None else int(header) if header.isdigit() and len(header) < 12 else -1
    if not 0 <= length <= len(body):
        raise Refused(400, f"{HEADER}: {header[:40] if header else header} of a body of {len(body)} bytes")
    message, rest = parse_json(body[:length]), memoryview(body)[length:]
    given = _entries(message, "inputs")
    arrays, offset = {}, 0
    for entry in given:
        name, values, used = read_input(entry, rest[offset:], limits)
        if name in arrays:
            raise Refused(400, f"inputs: {name} is given twice")
        arrays[name], offset = values, offset + used
    if offset != len(rest):
        raise Refused(400, f"{len(rest)} bytes of raw tensors, expected {offset}: the sum of binary_data_size")
    if not arrays:
        raise Refused(400, f"inputs: none; expected {', '.join(tensor.name for tensor in model.inputs)}")
    identity = message.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Refused(400, "id: expected a text")
    return Asked(arrays, _outputs(message, model), identity)


def _entries(message: Any, name: str) -> list[Mapping[str, Any]]:
    found = message.get(name, []) if isinstance(message, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
        raise Refused(400, f'expected a JSON object with "{name}": [{{"name": ..., ...}}, ...]')
    for entry in found:
        if not isinstance(entry.get("name"), str) or not isinstance(entry.get("parameters", {}), Mapping):
            raise Refused(400, f"{name}: each needs a name, a text; parameters must be an object")
        if any(str(key).startswith("shared_memory") for key in entry.get("parameters", {})):
            raise Refused(400, f"{name}: {entry['name']}: shared memory is not supported")
    return found


def _outputs(message: Mapping[str, Any], model: Served) -> dict[str, bool]:
    parameters = message.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise Refused(400, "parameters: expected an object")
    known, binary = [tensor.name for tensor in all_outputs(model)], parameters.get("binary_data_output") is True
    asked = _entries(message, "outputs")
    for entry in asked:
        if entry["name"] not in known:
            raise Refused(400, f"outputs: {entry['name'][:60]} is unknown; expected {', '.join(known)}")
        if "classification" in entry.get("parameters", {}):
            raise Refused(400, f"outputs: the classification extension is not supported; ask for {CLASS_NAME}")
    if not asked:
        return dict.fromkeys(known, binary)
    return {e["name"]: e.get("parameters", {}).get("binary_data", binary) is True for e in asked}


def response(asked: Asked, decisions: Mapping[str, np.ndarray], *, model: Served) -> tuple[bytes, dict[str, str]]:
    """Write the answer: its body, and its headers."""
    found = dict(decisions)
    if CLASS_NAME in asked.outputs:
        found[CLASS_NAME] = np.array(model.classes, object)[decisions["class"]]
    entries, raw = [], []
    for name, binary in asked.outputs.items():
        values = found[name]
        entry = {"name": name, "datatype": DATATYPES.get(str(values.dtype), "BYTES"), "shape": list(values.shape)}
        if binary:
            raw.append(raw_of(values))
            entries.append(entry | {"parameters": {"binary_data_size": len(raw[-1])}})
        else:
            entries.append(entry | {"data": values.reshape(-1).tolist()})
    about = {"model_name": model.name, "model_version": VERSION}
    text = dump_json(about | ({"id": asked.id} if asked.id is not None else {}) | {"outputs": entries})
    if not raw:
        return text, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER: str(len(text))}
    return b"".join([text, *raw]), headers

"""The OpenAPI description of a server, made from the model that it serves."""

from collections.abc import Mapping
from typing import Any

from dltrain import __version__
from dltrain.serving.fields import Field, FieldKind
from dltrain.serving.limits import Limits
from dltrain.serving.model import Served, Tensor
from dltrain.serving.oip import all_outputs
from dltrain.serving.plain import ARRAYS, JSON, accepted, single
from dltrain.serving.tensors import DATATYPES, DTYPES

Schema = dict[str, Any]
NUMBER: Schema = {"type": "number", "minimum": -3.4e38, "maximum": 3.4e38}
ERRORS = {
    "400": "The request is not what was expected; `error` says what is",
    "401": "The token is missing or wrong",
    "403": "The request comes from another website",
    "408": "The body arrived too slowly",
    "413": "The body is too large, or has too many rows",
    "415": "The content type is not one that is read here",
    "503": "The server is busy; try again after the seconds in Retry-After",
}


def openapi(model: Served, *, limits: Limits, token: bool) -> Schema:
    """Return the OpenAPI 3.1 description.

    Args:
        model: the served model.
        limits: of the server.
        token: whether requests need one.
    """
    name = model.name.replace("{", "").replace("}", "")
    protocol = {
        "/v2": _get("Metadata of the server"),
        "/v2/health/live": _get("Whether the server runs"),
        "/v2/health/ready": _get("Whether it answers requests"),
        f"/v2/models/{name}": _get("Metadata of the model"),
        f"/v2/models/{name}/ready": _get("Whether the model answers requests"),
        f"/v2/models/{name}/infer": _post("Predict, by the Open Inference Protocol", {JSON: _infer(model, limits)}),
    }
    plain = {
        "/predict": _post("Predict, for examples as a person writes them", _predict(model, limits)),
        "/signature": _get("Names, shapes, dtypes and classes of the model"),
        "/metrics": _get("Metrics for Prometheus", of="text/plain"),
    }
    found: Schema = {
        "openapi": "3.1.0",
        "info": {"title": f"dltrain serve {model.name}", "version": __version__},
        "paths": {**plain, **protocol},
        "components": {"schemas": {"Error": _object({"error": {"type": "string"}})}},
    }
    if token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _get(summary: str, *, of: str = JSON) -> Schema:
    return {"get": {"summary": summary, "responses": _responses(of)}}


def _post(summary: str, content: Mapping[str, Schema]) -> Schema:
    body = {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
    return {"post": {"summary": summary, "requestBody": body, "responses": _responses(JSON)}}


def _responses(of: str) -> Schema:
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    wrong = {code: {"description": text, "content": error} for code, text in ERRORS.items()}
    return {"200": {"description": "The answer", "content": {of: {"schema": {}}}}} | wrong


def _object(properties: Mapping[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties), **more}


def _predict(model: Served, limits: Limits) -> dict[str, Schema]:
    if not model.fields:
        arrays = {tensor.name: _nested(tensor, limits) for tensor in model.inputs}
        return {JSON: _object({ARRAYS: _object(arrays)})}
    record = _object({field.name: _value(field) for field in model.fields})
    found: dict[str, Schema] = {JSON: {"oneOf": [record, _listed(record, limits)]}}
    kinds = accepted(model.fields)
    if "text/plain" in kinds:
        found["text/plain"] = {"type": "string"}
    if "image/*" in kinds:
        found["image/png"] = found["image/jpeg"] = {"type": "string", "format": "binary"}
    if "multipart/form-data" in kinds:
        image = single(model.fields, FieldKind.IMAGE)
        parts = {image.name: {"type": "string", "format": "binary"}} if image else record["properties"]
        found["multipart/form-data"] = {"type": "object", "properties": parts}
    return found


def _listed(item: Schema, limits: Limits) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": limits.rows}


def _value(field: Field) -> Schema:
    kinds: dict[FieldKind, list[Schema]] = {
        FieldKind.NUMBER: [NUMBER],
        FieldKind.CATEGORY: [{"type": "string", "examples": list(field.levels[:50])}, NUMBER, {"type": "boolean"}],
        FieldKind.DATE: [{"type": "string", "examples": [field.example]}],
        FieldKind.TEXT: [{"type": "string"}],
        FieldKind.IMAGE: [{"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}],
        FieldKind.ANY: [NUMBER, {"type": "string"}],
    }
    choices = [*kinds[field.kind], *([{"type": "null"}] if field.optional else [])]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _nested(tensor: Tensor, limits: Limits) -> Schema:
    schema = NUMBER if tensor.dtype.startswith("float") else {"type": "integer"}
    for size in reversed(tensor.shape):
        schema = {"type": "array", "items": schema, "minItems": size, "maxItems": size}
    return _listed(schema, limits)


def _infer(model: Served, limits: Limits) -> Schema:
    inputs = [
        _object(
            {
                "name": {"const": tensor.name},
                "datatype": {"enum": [DATATYPES.get(tensor.dtype, "BYTES"), *DTYPES]},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
                "data": {"type": "array", "items": {"type": "number"}},
            }
        )
        for tensor in model.inputs
    ]
    outputs = {"enum": [tensor.name for tensor in all_outputs(model)]}
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "inputs": {
                "type": "array",
                "items": {"oneOf": inputs},
                "minItems": len(inputs),
                "maxItems": limits.rows,
            },
            "outputs": {"type": "array", "items": _object({"name": outputs})},
        },
        "required": ["inputs"],
    }

"""Requests and answers of `POST /predict`: examples as a person writes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.errors import ConfigError
from dltrain.serving.fields import Field, FieldKind, columns_of, ignored
from dltrain.serving.form import parse_form
from dltrain.serving.limits import Limits, Refused
from dltrain.serving.model import Served
from dltrain.serving.parse import parse_json

JSON = "application/json"
ARRAYS = "inputs"
"""The name in JSON that holds arrays, for models whose examples have no other form."""


@dataclass(frozen=True)
class Given:
    """The arrays of a request, and names in it that the model does not use."""

    arrays: Mapping[str, np.ndarray]
    ignored: Sequence[str] = ()


def parse(body: bytes, content_type: str, *, model: Served, limits: Limits) -> Given:
    """Read examples from a body of any of the content types that `accepted` names.

    Raises:
        Refused: 400 or 415, says what was expected.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not model.fields:
        return Given(_arrays(_json(body, kind, model), model=model, limits=limits))
    records = _records(body, kind, content_type, model)
    limits.check_rows(len(records))
    columns = columns_of(records, model.fields)
    return Given(model.encode(columns), ignored(records, model.fields))


def accepted(fields: Sequence[Field]) -> dict[str, str]:
    """Return the content types that a model with these fields accepts, and what each holds."""
    found = {JSON: "an object, or a list of them"}
    if single(fields, FieldKind.TEXT):
        found["text/plain"] = "one text"
    if single(fields, FieldKind.IMAGE):
        found["image/*"] = "the content of one image file"
    if any(field.kind is FieldKind.IMAGE for field in fields):
        found["multipart/form-data"] = "an upload"
    return found


def single(fields: Sequence[Field], kind: FieldKind) -> Field | None:
    """Return the one field of an example, if it is of this kind."""
    return fields[0] if len(fields) == 1 and fields[0].kind is kind else None


def _json(body: bytes, kind: str, model: Served) -> Any:
    if kind == JSON or kind.endswith("+json") or body.lstrip()[:1] in (b"{", b"["):  # curl sends it as a form
        return parse_json(body)
    expected = ", ".join(f"{name} ({what})" for name, what in accepted(model.fields).items())
    raise Refused(415, f"Content-Type: {kind[:60] or 'none'}; expected {expected}", reason="type")


def _records(body: bytes, kind: str, content_type: str, model: Served) -> list[Mapping[str, Any]]:
    text, image = (single(model.fields, of) for of in (FieldKind.TEXT, FieldKind.IMAGE))
    if text and kind == "text/plain":
        return [{text.name: _decoded(body)}]
    if image and (kind.startswith("image/") or kind == "application/octet-stream"):
        return [{image.name: body}]
    if kind == "multipart/form-data" and "multipart/form-data" in accepted(model.fields):
        return _uploaded(parse_form(body, content_type), model.fields)
    content = _json(body, kind, model)
    rows = content if isinstance(content, list) else [content]
    alone = text or image
    return [_record(row, place, alone, model.fields) for place, row in enumerate(rows)]


def _record(row: Any, place: int, alone: Field | None, fields: Sequence[Field]) -> Mapping[str, Any]:
    if alone and isinstance(row, str):
        return {alone.name: row}
    if not isinstance(row, Mapping):
        names = ", ".join(f'"{field.name}": ...' for field in fields)
        raise Refused(400, f"row {place} is {type(row).__name__}, expected an object {{{names}}}")
    if alone and alone.name not in row and str(alone.kind) in row:  # text or image, whatever the column is called
        return {alone.name: row[str(alone.kind)]}
    return row


def _uploaded(parts: Sequence[tuple[str, bytes, bool]], fields: Sequence[Field]) -> list[Mapping[str, Any]]:
    """Return the examples of a form: every upload is one if the model takes one image, else the parts are a row."""
    if image := single(fields, FieldKind.IMAGE):
        return [{image.name: content} for _, content, _ in parts]
    kinds = {field.name: field.kind for field in fields}
    found = {}
    for name, content, _ in parts:
        is_image = kinds.get(name) is FieldKind.IMAGE
        found[name] = (content or None) if is_image else (_decoded(content) or None)
    return [found]


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(400, f"the text is not UTF-8 (byte {error.start})") from error


def _arrays(content: Any, *, model: Served, limits: Limits) -> Mapping[str, np.ndarray]:
    """Return arrays that are given as nested lists, for a model whose examples have no other form."""
    names = [tensor.name for tensor in model.inputs]
    given = content.get(ARRAYS) if isinstance(content, Mapping) else content
    named = given if isinstance(given, Mapping) else {names[0]: given}
    found = {}
    for name, values in named.items():
        dtype = next((tensor.dtype for tensor in model.inputs if tensor.name == name), "float32")
        try:
            found[name] = _array(values, np.dtype(dtype))
        except (ValueError, TypeError, OverflowError) as error:
            raise Refused(400, f"{name[:60]}: expected {dtype} [rows, ...] as nested lists") from error
        limits.check_rows(len(found[name]))
    return model.check(found)


def _array(values: Any, dtype: np.dtype) -> np.ndarray:
    if not isinstance(values, list):
        raise ValueError
    if values and all(isinstance(value, str) for value in values):
        return values  # texts, which the preprocessing of the model numbers
    plain = np.array(values)
    if plain.dtype.kind not in {"f": "fiu", "b": "b"}.get(dtype.kind, "iu"):
        raise ValueError
    if plain.dtype.kind == "f" and not (np.abs(plain) <= np.finfo(np.float32).max).all():
        raise ValueError
    if dtype.kind in "iu" and plain.size and not np.array_equal(plain, plain.astype(dtype)):
        raise ValueError
    return plain.astype(dtype)


def answer(decisions: Mapping[str, np.ndarray], given: Given, *, model: Served) -> dict[str, Any]:
    """Return what the model predicts, as JSON: one object for each example."""
    try:
        columns = model.columns(decisions)
    except ConfigError:  # a mask or an image: too many values for columns
        columns = decisions
    lists = {name: _plain(np.asarray(values)) for name, values in columns.items()}
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return {"model": model.name, "predictions": rows} | ({"ignored": list(given.ignored)} if given.ignored else {})


def _plain(values: np.ndarray) -> list[Any]:
    """Return numbers as JSON has them: float32 with the few digits that tell it from its neighbours."""
    if values.dtype == np.float32:
        return json.loads(f"[{','.join(values.reshape(-1).astype(str))}]") if values.ndim == 1 else _nested(values)
    return values.tolist()


def _nested(values: np.ndarray) -> list[Any]:
    return values.astype(str).astype(np.float64).tolist()

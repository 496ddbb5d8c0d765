"""From checked values to arrays, by the fitted encoder, without reading any file; and arrays that are given."""

from typing import Any

import numpy as np

from dltrain.data.images.encode import ImageEncoder
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.tables.frames import as_frame
from dltrain.data.texts.encode import TextEncoder
from dltrain.errors import DataError
from dltrain.inference.given import fitting
from dltrain.serving.fields import Columns
from dltrain.types import Feature, Kind


def encoded(encoder: Any, columns: Columns) -> Any:
    """Return the arrays of the inputs, without reading any file."""
    if isinstance(encoder, ImageEncoder):
        return encoder.encode(next(iter(columns.values())))
    if isinstance(encoder, TextEncoder) or not isinstance(encoder, TableEncoder):
        return encoder.encode(columns)
    images = {}
    for name, fitted in encoder.images.items():
        images[name] = np.zeros((len(columns[name]), *fitted.feature.shape), np.uint8)
        for row, content in enumerate(columns[name]):
            if content is not None:
                images[name][row] = _decoded(content, fitted.encoder, f"row {row}: {name}")
    named = {
        name: [None if value is None else "given" for value in values] if name in images else values
        for name, values in columns.items()
    }
    return encoder.encode_frame(as_frame(named), images)


def _decoded(content: bytes, encoder: ImageEncoder, where: str) -> np.ndarray:
    try:
        return encoder.one(content)
    except DataError as error:
        raise DataError(f"{where} {error}") from error


def checked_array(values: Any, name: str, feature: Feature) -> Any:
    """Check the shape and dtype of an array, which an encoder would take for something else; or decode texts."""
    if not isinstance(values, list):
        return fitting(values, feature, f"inputs: {name}")
    if feature.kind is not Kind.TOKENS:
        raise DataError(f"inputs: {name}: expected {feature.dtype} [N, ...], found texts")
    try:
        return [value if isinstance(value, str) else value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise DataError(f"inputs: {name}: expected texts in UTF-8") from error

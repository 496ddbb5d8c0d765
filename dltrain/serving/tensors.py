"""Tensors of the Open Inference Protocol: values in JSON, and little-endian bytes behind it."""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dltrain.ranges import LARGEST
from dltrain.serving.limits import Limits, Refused

DTYPES = {
    "BOOL": "bool",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
}
DATATYPES = {dtype: name for name, dtype in DTYPES.items()}
MOST_AXES = 8


def read_input(entry: Mapping[str, Any], rest: memoryview, limits: Limits) -> tuple[str, Any, int]:
    """Return name, array and number of raw bytes of an input."""
    name, datatype, shape = entry["name"], entry.get("datatype"), entry.get("shape")
    where = f"inputs: {name[:60]}"
    if datatype not in (*DTYPES, "BYTES"):
        raise Refused(400, f"{where}: datatype {str(datatype)[:20]!r}, expected one of {', '.join(DTYPES)}, BYTES")
    sizes = _sizes(shape, where)
    limits.check_rows(sizes[0])
    count, size = math.prod(sizes), entry.get("parameters", {}).get("binary_data_size")
    if size is None:
        return name, _from_json(entry.get("data"), datatype, sizes, where), 0
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise Refused(400, f"{where}: binary_data_size is {str(size)[:20]}, but {len(rest)} raw bytes are left")
    if datatype == "BYTES":
        return name, _checked(_texts(rest[:size], count, where), sizes, where), size
    dtype = np.dtype(DTYPES[datatype]).newbyteorder("<")
    if size != count * dtype.itemsize:
        expected = count * dtype.itemsize
        raise Refused(400, f"{where}: binary_data_size is {size}, expected {expected} for {datatype} {sizes}")
    return name, _checked(np.frombuffer(rest[:size], dtype).reshape(sizes), sizes, where), size


def _sizes(shape: Any, where: str) -> list[int]:
    whole = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    if not whole or not 0 < len(shape) <= MOST_AXES:
        raise Refused(400, f"{where}: expected a shape [rows, ...] of at most {MOST_AXES} whole numbers")
    return list(shape)


def _from_json(data: Any, datatype: str, sizes: Sequence[int], where: str) -> Any:
    expected = f"{where}: expected data of {datatype} {list(sizes)}, flat or nested lists"
    if not isinstance(data, list):
        raise Refused(400, expected)
    flat = _flat(data, MOST_AXES)
    if flat is None or len(flat) != math.prod(sizes):
        raise Refused(400, f"{expected}, found {'other values' if flat is None else f'{len(flat)} values'}")
    if datatype == "BYTES":
        if not all(isinstance(value, str) for value in flat):
            raise Refused(400, f"{expected} of texts")
        return _checked([value.encode(errors="replace") for value in flat], sizes, where)
    dtype = np.dtype(DTYPES[datatype])
    kinds: Any = {"b": bool, "f": (int, float)}.get(dtype.kind, int)
    if not all(isinstance(v, kinds) and (dtype.kind == "b" or not isinstance(v, bool)) for v in flat):
        raise Refused(400, expected)
    try:
        return _checked(np.array(flat, dtype).reshape(sizes), sizes, where)
    except OverflowError as error:
        raise Refused(400, f"{expected}, found a number that {datatype} cannot hold") from error


def _flat(data: list[Any], axes: int) -> list[Any] | None:
    """Return the values of nested lists; None if they are nested unevenly or too deeply."""
    while data and isinstance(data[0], list):
        if axes == 1 or not all(isinstance(part, list) for part in data) or len({len(p) for p in data}) > 1:
            return None
        data, axes = [value for part in data for value in part], axes - 1
    return None if any(isinstance(value, list | dict) for value in data) else data


def _checked(values: Any, sizes: Sequence[int], where: str) -> Any:
    """Refuse numbers that float32 cannot hold, and texts in more than one column."""
    if isinstance(values, list):
        if any(n != 1 for n in sizes[1:]):
            raise Refused(400, f"{where}: expected BYTES of shape [rows] or [rows, 1], found {list(sizes)}")
        return values
    if values.dtype.kind == "f" and values.size:
        with np.errstate(invalid="ignore"):
            inside = np.abs(values.astype(np.float64)) <= LARGEST  # NaN is not
        if not inside.all():
            place = np.argwhere(~inside)[0].tolist()
            raise Refused(400, f"{where}: {values[tuple(place)]} at {place}; expected finite numbers of float32")
    return values


def _texts(raw: memoryview, count: int, where: str) -> list[bytes]:
    found, place = [], 0
    while place + 4 <= len(raw) and len(found) < count:
        (length,) = struct.unpack_from("<I", raw, place)
        found.append(bytes(raw[place + 4 : place + 4 + length]))
        place += 4 + length
    if place != len(raw) or len(found) != count:
        raise Refused(400, f"{where}: expected {count} BYTES elements, each after its length (4 bytes)")
    return found


def raw_of(values: np.ndarray) -> bytes:
    """Return a tensor as raw bytes."""
    if values.dtype != object:
        return np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    texts = [str(value).encode() for value in values.reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)

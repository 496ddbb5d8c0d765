"""What rows must be before training starts: of the promised shapes and dtypes, finite, labels in range.

JAX does not tell: a gather clips, a label of -1 trains the last class, and `one_hot` makes zeros of one too large.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dltrain.errors import DataError
from dltrain.tree import flattened
from dltrain.types import Kind, Spec


def check_rows(arrays: Mapping[str, Any], spec: Spec, *, name: str = "data", first: int = 0) -> None:
    """Raise DataError, naming row and column, unless every example is what `spec` promises.

    Args:
        arrays: `inputs`, `targets` and whatever else a source delivers, each array [N, ...].
        spec: what the source says about them.
        name: what to call the data in messages.
        first: the number of the first row, where these are some of many.
    """
    promised, found = flattened(spec.layout()), flattened(dict(arrays))
    for part, feature in promised.items():
        if part not in found:
            raise DataError(f"{name}: the source delivers no {part}, only {', '.join(sorted(found)) or 'nothing'}")
        shape, dtype = found[part].shape[1:], found[part].dtype
        if shape != feature.shape or dtype != feature.dtype:
            rows = f" from row {first} on" if first else ""
            raise DataError(
                f"{name}: {part}{rows} are {dtype} {list(shape)} a row, but the source's spec says "
                f"{feature.dtype} {list(feature.shape)}"
            )
    sizes = {part: len(array) for part, array in found.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{name}: as many rows of each are needed, found {_listed(sizes)}")
    if not all(sizes.values()):
        raise DataError(f"{name}: there are no rows")
    for part, array in found.items():
        _check_finite(array, f"{name}: {part}", promised[part].names if part in promised else (), first)
    for part, feature in promised.items():
        match feature.kind:
            case Kind.TOKENS | Kind.DECODER_TOKENS:
                count, where = len(feature.vocabulary), f"{name}: {part}"
                _check_range(found[part], count, where, "tokens of the vocabulary", first)
            case Kind.CATEGORY if feature.shape:
                _check_range(found[part], len(feature.vocabulary), f"{name}: {part}", "classes", first)
            case Kind.CATEGORY:
                check_labels(found[part], len(feature.vocabulary), name=name, first=first)
            case Kind.LENGTH:
                _check_lengths(found[part], spec.input.shape[0], name, first)
            case Kind.WEIGHT:
                check_weights(found[part], name=name, first=first)


def check_labels(labels: np.ndarray, classes: int, *, name: str, first: int = 0) -> None:
    """Raise DataError, naming the first bad row, unless `labels` are whole numbers in 0..classes-1, int [N]."""
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise DataError(
            f"{name}: labels must be one whole number a row, found {labels.dtype} {list(labels.shape[1:])}"
        )
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise DataError(
            f"{name}: the label of row {first + bad[0]} is {labels[bad[0]]}, "
            f"expected 0..{classes - 1} ({classes} classes)"
            f"; {len(bad)} of {len(labels)} rows are out of range"
        )


def _check_range(values: np.ndarray, count: int, where: str, what: str, first: int) -> None:
    """Raise DataError, naming the first bad place, unless `values`, int [N, ...], lie in 0..count-1."""
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"{where} must be whole numbers, found {values.dtype}")
    bad = (values < 0) | (values >= count)
    if bad.any():
        row, *place = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
        raise DataError(
            f"{where} of row {first + row}, {', '.join(map(str, place))}: {values[row, *place]}, "
            f"expected 0..{count - 1} ({count} {what})"
        )


def check_weights(weights: np.ndarray, *, name: str, first: int = 0, some: bool = False) -> None:
    """Raise DataError, naming the first bad row, unless `weights`, float [N], are 0 or more; `some`: not all 0."""
    if not np.issubdtype(weights.dtype, np.floating) or weights.ndim != 1:
        raise DataError(f"{name}: weights must be one float a row, found {weights.dtype} {list(weights.shape[1:])}")
    bad = np.flatnonzero(weights < 0)
    if len(bad):
        raise DataError(
            f"{name}: the weight of row {first + bad[0]} is {weights[bad[0]]:g}, expected 0 or more; "
            f"{len(bad)} of {len(weights)} rows have less"
        )
    if some and not weights.any():
        raise DataError(f"{name}: the weights of all rows are 0, so that nothing would be learnt")


def _check_lengths(lengths: np.ndarray, most: int, name: str, first: int) -> None:
    bad = np.flatnonzero((lengths < 1) | (lengths > most))
    if len(bad):
        raise DataError(
            f"{name}: the length of row {first + bad[0]} is {lengths[bad[0]]}, expected 1..{most}; "
            f"{len(bad)} of {len(lengths)} rows are out of range"
        )


def _check_finite(array: np.ndarray, where: str, columns: Sequence[str], first: int) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    row, *place = (int(i) for i in np.unravel_index(np.argmin(finite), array.shape))
    column = columns[place[0]] if len(place) == 1 and place[0] < len(columns) else ", ".join(map(str, place))
    bad = len(array) - int(finite.reshape(len(array), -1).all(1).sum())
    raise DataError(
        f"{where} of row {first + row}{f', column {column}' if place else ''}: "
        f"{array[row, *place]} is no finite number; "
        f"{bad} of {len(array)} rows have one; fill them or leave these rows out"
    )


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{size} of {part}" for part, size in sizes.items())

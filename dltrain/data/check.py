"""Check examples before training starts: shapes and dtypes as in the spec, finite values, labels in range.

JAX does not report such faults: a gather clips its indices, a label of -1 trains the last class, and `one_hot`
returns zeros for a label that is too large.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dltrain.errors import DataError
from dltrain.tree import flattened
from dltrain.types import Kind, Spec


def check_examples(arrays: Mapping[str, Any], spec: Spec, *, name: str = "data", first: int = 0) -> None:
    """Raise DataError, naming example and column, unless every example matches `spec`.

    Args:
        arrays: `inputs`, `targets` and whatever else a source returns, each array [N, ...].
        spec: the features that the source declares.
        name: what messages call the data.
        first: the index of the first example, where `arrays` is a part of the data.
    """
    declared, found = flattened(spec.layout()), flattened(dict(arrays))
    for part, feature in declared.items():
        if part not in found:
            raise DataError(f"{name}: the source returns no {part}, only {', '.join(sorted(found)) or 'nothing'}")
        shape, dtype = found[part].shape[1:], found[part].dtype
        if shape != feature.shape or dtype != feature.dtype:
            onwards = f" from example {first} on" if first else ""
            raise DataError(
                f"{name}: {part}{onwards} are {dtype} {list(shape)} per example, but the source's spec says "
                f"{feature.dtype} {list(feature.shape)}"
            )
    sizes = {part: len(array) for part, array in found.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{name}: the arrays differ in their number of examples: {_listed(sizes)}")
    if not all(sizes.values()):
        raise DataError(f"{name}: there are no examples")
    for part, array in found.items():
        _check_finite(array, f"{name}: {part}", declared[part].names if part in declared else (), first)
    for part, feature in declared.items():
        match feature.kind:
            case Kind.TOKENS | Kind.DECODER_TOKENS:
                count, where = len(feature.vocabulary), f"{name}: {part}"
                _check_range(found[part], count, where, "tokens of the vocabulary", first)
            case Kind.NGRAMS:
                _check_range(
                    found[part], feature.buckets + 1, f"{name}: {part}", "buckets, with 0 for padding", first
                )
            case Kind.CATEGORIES:
                for column, (name_, levels) in enumerate(zip(feature.names, feature.levels, strict=True)):
                    where = f"{name}: {part}, column {name_}"
                    _check_range(
                        found[part][:, column], len(levels) + 1, where, "levels, with 0 for unknown", first
                    )
            case Kind.LABELS:
                _check_range(found[part], 2, f"{name}: {part}", "values of a label", first)
            case Kind.CATEGORY if feature.shape or part.startswith("inputs"):
                _check_range(found[part], len(feature.vocabulary), f"{name}: {part}", "classes", first)
            case Kind.CATEGORY:
                check_labels(found[part], len(feature.vocabulary), name=name, first=first)
            case Kind.LENGTH:
                _check_lengths(found[part], _longest(spec), name, first)
            case Kind.WEIGHT:
                check_weights(found[part], name=name, first=first)


def _longest(spec: Spec) -> int:
    """Return the number of steps of the longest input that has steps."""
    return max(f.shape[0] for f in spec.contents.values() if f.shape and f.kind is not Kind.NUMBERS)


def check_labels(labels: np.ndarray, classes: int, *, name: str, first: int = 0) -> None:
    """Raise DataError, naming the first bad example, unless `labels` are whole numbers in 0..classes-1, int [N]."""
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise DataError(
            f"{name}: labels must be one whole number per example, found {labels.dtype} {list(labels.shape[1:])}"
        )
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise DataError(
            f"{name}: the label of example {first + bad[0]} is {labels[bad[0]]}, "
            f"expected 0..{classes - 1} ({classes} classes)"
            f"; {len(bad)} of {len(labels)} labels are out of range"
        )


def _check_range(values: np.ndarray, count: int, where: str, what: str, first: int) -> None:
    """Raise DataError, naming the first bad position, unless `values`, int [N, ...], lie in 0..count-1."""
    if not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"{where} must be whole numbers, found {values.dtype}")
    bad = (values < 0) | (values >= count)
    if bad.any():
        example, *place = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
        raise DataError(
            f"{where} of example {', '.join(map(str, (first + example, *place)))}: {values[example, *place]}, "
            f"expected 0..{count - 1} ({count} {what})"
        )


def check_weights(weights: np.ndarray, *, name: str, first: int = 0, some: bool = False) -> None:
    """Raise DataError, naming the first bad one, unless `weights`, float [N], are 0 or more; `some`: not all 0."""
    if not np.issubdtype(weights.dtype, np.floating) or weights.ndim != 1:
        raise DataError(
            f"{name}: weights must be one float per example, found {weights.dtype} {list(weights.shape[1:])}"
        )
    bad = np.flatnonzero(weights < 0)
    if len(bad):
        raise DataError(
            f"{name}: the weight of example {first + bad[0]} is {weights[bad[0]]:g}, expected 0 or more; "
            f"{len(bad)} of {len(weights)} weights are negative"
        )
    if some and not weights.any():
        raise DataError(f"{name}: the weights of all examples are 0, so nothing would be learned")


def _check_lengths(lengths: np.ndarray, most: int, name: str, first: int) -> None:
    bad = np.flatnonzero((lengths < 1) | (lengths > most))
    if len(bad):
        raise DataError(
            f"{name}: the length of example {first + bad[0]} is {lengths[bad[0]]}, expected 1..{most}; "
            f"{len(bad)} of {len(lengths)} lengths are out of range"
        )


def _check_finite(array: np.ndarray, where: str, columns: Sequence[str], first: int) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    example, *place = (int(i) for i in np.unravel_index(np.argmin(finite), array.shape))
    column = columns[place[0]] if len(place) == 1 and place[0] < len(columns) else ", ".join(map(str, place))
    bad = len(array) - int(finite.reshape(len(array), -1).all(1).sum())
    raise DataError(
        f"{where} of example {first + example}{f', column {column}' if place else ''}: "
        f"{array[example, *place]} is not a finite number; "
        f"{bad} of {len(array)} examples have such values: fill them in, or leave these examples out"
    )


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{size} of {part}" for part, size in sizes.items())

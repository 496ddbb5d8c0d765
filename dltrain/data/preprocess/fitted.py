"""What was fitted on the training examples, as arrays, which are arguments of a program that folds share."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from dltrain.data.preprocess.pipeline import Preprocess
from dltrain.data.preprocess.step import Chain
from dltrain.types import Array


def arrays_of(preprocess: Preprocess) -> dict[str, np.ndarray]:
    """Return the arrays of all fitted steps, by side, feature, number of the step and field."""
    return {
        f"{place}.{name}": value for place, step in _steps(preprocess) for name, value in _fields(step, arrays=True)
    }


def with_arrays(preprocess: Preprocess, arrays: Mapping[str, Array]) -> Preprocess:
    """Put arrays, which may be traced, into the place of those that `arrays_of` returns."""

    def filled(place: str, step: Any) -> Any:
        own = {name: arrays[f"{place}.{name}"] for name, _ in _fields(step, arrays=True)}
        return replace(step, **own) if own else step

    def each(side: str, chains: Mapping[str, Chain]) -> dict[str, Chain]:
        return {name: _changed(chain, f"{side}.{name}", filled) for name, chain in chains.items()}

    inputs, targets = each("inputs", preprocess.inputs), each("targets", preprocess.targets)
    return replace(preprocess, inputs=inputs, targets=targets)


def structure_of(preprocess: Preprocess) -> list[Any]:
    """Return all but the values of the arrays: two preprocessings that are equal in it differ in arrays only.

    A step that is not a dataclass has no arrays that can be exchanged, so all that it saves is part of it.
    """
    found: list[Any] = []
    for place, step in _steps(preprocess):
        shapes = [(name, value.shape, str(value.dtype)) for name, value in _fields(step, arrays=True)]
        rest = _fields(step, arrays=False) if is_dataclass(step) else sorted(step.to_json().items())
        found.append((place, type(step), shapes, repr(list(rest))))
    return found


def _steps(preprocess: Preprocess) -> Iterator[tuple[str, Any]]:
    for side, chains in (("inputs", preprocess.inputs), ("targets", preprocess.targets)):
        for name, chain in chains.items():
            for i, step in enumerate(chain.steps):
                yield f"{side}.{name}.{i}", step


def _fields(step: Any, *, arrays: bool) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a fitted step that are arrays of numbers, or the others."""
    for field in fields(step) if is_dataclass(step) else ():
        value = getattr(step, field.name)
        if (isinstance(value, np.ndarray) and value.dtype.kind in "fiub") == arrays:
            yield field.name, value


def _changed(chain: Chain, place: str, change: Callable[[str, Any], Any]) -> Chain:
    return Chain(tuple(change(f"{place}.{i}", step) for i, step in enumerate(chain.steps)))

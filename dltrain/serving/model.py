"""What the server needs of a model, and the models of dltrain in this form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from dltrain import __version__
from dltrain.data.preprocess import Preprocess
from dltrain.data.preprocess.pipeline import array_spec
from dltrain.errors import DataError, DltrainError
from dltrain.inference.compiled import Arrays
from dltrain.inference.given import given_inputs
from dltrain.serving.checks import check_values
from dltrain.serving.encoding import checked_array, encoded
from dltrain.serving.fields import Columns, Field, fields_of
from dltrain.serving.limits import Refused
from dltrain.types import Feature, Spec, alone_or_named, by_name

Decide = Callable[[Arrays, np.ndarray], Mapping[str, np.ndarray]]
"""Arrays by name, [B, ...], and mask [B] -> decisions by name, [B, ...]."""


@dataclass(frozen=True)
class Tensor:
    """An array of an example: its name, its numpy dtype, and its shape without the batch axis."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Served(Protocol):
    """A model that can be served."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        ...

    @property
    def signature(self) -> dict[str, Any]:
        """Names, shapes, dtypes, classes: what `GET /signature` returns."""
        ...

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a person writes for an example; none if the model takes arrays only."""
        ...

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The arrays of the inputs, as clients of the Open Inference Protocol send them."""
        ...

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The decisions."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, if the decisions have a `class`."""
        ...

    def encode(self, columns: Columns) -> dict[str, np.ndarray]:
        """Turn checked values by the names of fields into arrays for `compile`; Refused if they cannot be read."""
        ...

    def check(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Turn arrays by the names of `inputs` into arrays for `compile`; Refused if they do not fit."""
        ...

    def compile(self, size: int) -> Decide:
        """Return the decisions as a program for batches of this size, ready to run."""
        ...

    def columns(self, decisions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return decisions as the columns of `dltrain predict`, [N] or [N, H]."""
        ...


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model of dltrain: the host half of what was fitted, and a compiled program.

    Attributes:
        name: the name of its folder.
        spec: the features of the data, with the task.
        preprocess: the fitted steps, whose host half is applied here.
        encoder: what turns records into arrays; None if the model takes arrays only.
        outputs: the decisions.
        program: batch size -> program.
        about: what `/signature` says besides that.
    """

    name: str
    spec: Spec
    preprocess: Preprocess
    encoder: Any
    outputs: tuple[Tensor, ...]
    program: Callable[[int], Decide]
    about: Mapping[str, Any]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """What a person writes for an example."""
        return fields_of(self.encoder)

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The arrays before the host half of the preprocessing."""
        return tuple(Tensor(name, f.dtype, f.shape) for name, f in self.spec.inputs.items())

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.spec.classes

    @cached_property
    def signature(self) -> dict[str, Any]:
        """What a client needs to know of the model."""
        spec = self.spec
        return {
            "name": self.name,
            "dltrain": __version__,
            **self.about,
            "task": str(spec.task),
            "fields": [field.to_json() for field in self.fields],
            "inputs": [_described(name, feature) for name, feature in spec.inputs.items()],
            "outputs": [{"name": o.name, "dtype": o.dtype, "shape": list(o.shape)} for o in self.outputs],
            "targets": [name for f in spec.targets.values() for name in f.names] or list(spec.targets),
            "classes": list(self.classes or spec.labels),
        }

    def encode(self, columns: Columns) -> dict[str, np.ndarray]:
        """Apply the fitted encoder to columns; images are bytes, never paths."""
        try:
            return self._given(encoded(self.encoder, columns))
        except DltrainError as error:
            raise Refused(400, str(error)) from error

    def check(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Check names, shapes, dtypes and values of arrays."""
        features, expected = self.spec.inputs, ", ".join(self.spec.inputs)
        if wrong := set(arrays) ^ set(features):
            state = "is missing" if min(wrong) not in arrays else "is not an input"
            raise Refused(400, f"inputs: {min(wrong)[:60]} {state}; expected {expected}")
        try:
            return self._given(
                alone_or_named({n: checked_array(arrays[n], n, feature) for n, feature in features.items()})
            )
        except DltrainError as error:
            raise Refused(400, str(error)) from error

    def _given(self, inputs: Any) -> dict[str, np.ndarray]:
        given = given_inputs(inputs, self._arrays, self.preprocess)
        found = dict(by_name(given, self._arrays.inputs))
        counts = {name: len(values) for name, values in found.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"inputs: the arrays have different numbers of rows: {counts}")
        for name, values in found.items():
            check_values(name, values, self._arrays.inputs[name])
        return found

    def compile(self, size: int) -> Decide:
        """Compile the program for a batch size, and run it once."""
        decide = self.program(size)
        zeros = {name: np.zeros((size, *f.shape), f.dtype) for name, f in self._arrays.inputs.items()}
        decide(zeros, np.zeros(size, bool))
        return decide

    def columns(self, decisions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the columns of the task."""
        return self.spec.task.columns(decisions, self.spec)

    @cached_property
    def _arrays(self) -> Spec:
        return array_spec(self.spec, self.preprocess)


def _described(name: str, feature: Feature) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "kind": str(feature.kind), "dtype": feature.dtype}
    found["shape"] = list(feature.shape)
    if feature.names:
        found["names"] = list(feature.names)
    return found | ({"levels": [list(levels) for levels in feature.levels]} if feature.levels else {})

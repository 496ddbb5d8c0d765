"""What the server needs of a model, and a run's model in this form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from dltrain import __version__
from dltrain.data.encoders import NumbersEncoder
from dltrain.data.tables.encode import TableEncoder
from dltrain.errors import DataError, DltrainError
from dltrain.inference.bundle import Bundle
from dltrain.inference.compiled import Arrays, compile_decisions, decision_shapes
from dltrain.inference.export.load_template import encode
from dltrain.inference.export.signature import describe_encoder
from dltrain.inference.given import given_inputs
from dltrain.serving.checks import check_values
from dltrain.serving.encoding import checked_array, encoded
from dltrain.serving.fields import Columns, Field, fields_of
from dltrain.serving.limits import Refused
from dltrain.types import Feature, Spec, alone_or_named, by_name

FEW = 64
"""Rows of a table up to which the encoder of exports is faster: 1 row takes 0.06 ms for 4 ms, 64 rows 1.6."""
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
    def step(self) -> int:
        """The step of its checkpoint."""
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
class ServedBundle:
    """The model of a run folder.

    Attributes:
        name: the name of the folder.
        bundle: the model.
        step: the step of its checkpoint.
    """

    name: str
    bundle: Bundle
    step: int

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """What a person writes for an example."""
        return fields_of(self.bundle.encoder)

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The arrays before the host half of the preprocessing."""
        return tuple(Tensor(name, f.dtype, f.shape) for name, f in self.bundle.raw_spec.inputs.items())

    @cached_property
    def outputs(self) -> tuple[Tensor, ...]:
        """The decisions of the task."""
        found = decision_shapes(self.bundle).items()
        return tuple(Tensor(name, str(shape.dtype), shape.shape[1:]) for name, shape in found)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.bundle.raw_spec.classes

    @cached_property
    def signature(self) -> dict[str, Any]:
        """What a client needs to know of the model."""
        spec = self.bundle.raw_spec
        return {
            "name": self.name,
            "dltrain": __version__,
            "step": self.step,
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
            few = self._few is not None and len(next(iter(columns.values()))) <= FEW
            return self._given(encode(self._few, columns) if few else encoded(self.bundle.encoder, columns))
        except (DltrainError, ValueError) as error:
            raise Refused(400, str(error)) from error

    @cached_property
    def _few(self) -> dict[str, Any] | None:
        """What encodes a few rows as an export does: each call of polars takes 0.1 ms, and it makes many."""
        encoder = self.bundle.encoder
        if not isinstance(encoder, TableEncoder | NumbersEncoder) or getattr(encoder, "images", None):
            return None
        return {"encoder": describe_encoder(self.bundle), "inputs": self._arrays.inputs}

    def check(self, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Check names, shapes, dtypes and values of arrays."""
        expected = ", ".join(tensor.name for tensor in self.inputs)
        if wrong := set(arrays) ^ {tensor.name for tensor in self.inputs}:
            state = "is missing" if min(wrong) not in arrays else "is not an input"
            raise Refused(400, f"inputs: {min(wrong)[:60]} {state}; expected {expected}")
        try:
            features = self.bundle.raw_spec.inputs
            return self._given(
                alone_or_named({name: checked_array(arrays[name], name, features[name]) for name in features})
            )
        except DltrainError as error:
            raise Refused(400, str(error)) from error

    def _given(self, inputs: Any) -> dict[str, np.ndarray]:
        given = given_inputs(inputs, self._arrays, self.bundle.preprocess)
        found = dict(by_name(given, self._arrays.inputs))
        counts = {name: len(values) for name, values in found.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"inputs: the arrays have different numbers of rows: {counts}")
        for name, values in found.items():
            check_values(name, values, self._arrays.inputs[name])
        return found

    def compile(self, size: int) -> Decide:
        """Compile the program for a batch size, and run it once."""
        decide = compile_decisions(self.bundle, size)
        zeros = {name: np.zeros((size, *f.shape), f.dtype) for name, f in self._arrays.inputs.items()}
        decide(zeros, np.zeros(size, bool))
        return decide

    def columns(self, decisions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the columns of the task."""
        return self.bundle.spec.task.columns(decisions, self.bundle.raw_spec)

    @cached_property
    def _arrays(self) -> Spec:
        return self.bundle.array_spec


def _described(name: str, feature: Feature) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "kind": str(feature.kind), "dtype": feature.dtype}
    found["shape"] = list(feature.shape)
    if feature.names:
        found["names"] = list(feature.names)
    return found | ({"levels": [list(levels) for levels in feature.levels]} if feature.levels else {})

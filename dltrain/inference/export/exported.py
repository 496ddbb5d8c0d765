"""An exported folder in Python: the model runs by the code of load.py, which is also in dltrain.

The load.py of a folder is for people without dltrain. It is not run here: a folder may come from somebody else.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.build.instantiate import build
from dltrain.build.saved import read_saved
from dltrain.data.encoders import encoder_for
from dltrain.errors import CheckpointError, DataError
from dltrain.inference.export import load_template, stablehlo, write
from dltrain.inference.export.make import read_export
from dltrain.inference.predictions import Predictions
from dltrain.types import Spec

Warn = Callable[[str], None]


class ExportedModel:
    """A model that `dltrain export` wrote: what `dltrain.load_exported` returns."""

    def __init__(self, path: str | Path, *, trust: tuple[str, ...] = ()) -> None:
        """Open a folder and check its files; `trust` are packages with parts of yours.

        Raises:
            CheckpointError: it is not an export, a file is damaged, or this jax cannot read it.
        """
        self.path, self._trust = Path(path).expanduser(), trust
        self.signature = read_export(self.path)
        if stablehlo.FILE not in self.signature["files"]:
            raise CheckpointError(
                f"{self.path}: has the weights alone; write the model, too: "
                f"dltrain export {self.path} refresh=true format=stablehlo"
            )
        try:
            self._model = load_template.Model(self.path, self.signature)
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {error}") from error

    def __repr__(self) -> str:
        """Name the folder."""
        return f"ExportedModel({str(self.path)!r})"

    def __call__(self, inputs: Any) -> dict[str, np.ndarray]:
        """Return the decisions for arrays, [N, ...] by the names of the inputs; of a single input the array.

        Raises:
            DataError: an array is missing, or has another shape or dtype.
        """
        try:
            return self._model(inputs)
        except ValueError as error:
            raise DataError(str(error)) from error

    def encode(self, records: Any) -> dict[str, np.ndarray]:
        """Return the arrays of examples as people have them: rows of a table, texts, images; arrays stay.

        Raises:
            DataError: a column is missing, or a value cannot be read.
        """
        inputs = self.signature["inputs"]
        if self._are_arrays(records):
            return dict(records) if isinstance(records, Mapping) else {next(iter(inputs)): records}
        try:
            if load_template.encodes(self.signature):
                return load_template.encode(self.signature, records)
        except ValueError as error:
            raise DataError(str(error)) from error
        if self._encoder is None:
            raise DataError(f"inputs: this model takes arrays: {', '.join(inputs)}")
        found = self._encoder.encode(records)
        return dict(found) if isinstance(found, Mapping) else {next(iter(inputs)): found}

    def predict(self, records: Any) -> Predictions:
        """Return what the model predicts for examples as people have them; see `Bundle.predict`."""
        return Predictions(self(self.encode(records)), self.spec)

    @cached_property
    def spec(self) -> Spec:
        """The features of the data, with the task."""
        about, quantiles = self.signature["task"], tuple(self.signature["quantiles"])
        task = build(about["node"], path="task", trust=self._trust, quantiles=quantiles)
        try:
            return Spec.from_json(self.signature["spec"], task=task)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{self.path}: the spec in signature.json is damaged: {error}") from error

    @cached_property
    def _encoder(self) -> Any:
        saved = read_saved(self.path / write.MODEL, self._trust, task=self.spec.task)
        return saved.preprocess.encoder or encoder_for(self.spec)

    def _are_arrays(self, records: Any) -> bool:
        """Tell whether these are the arrays of the inputs, not examples as people have them."""
        inputs = self.signature["inputs"]
        if isinstance(records, Mapping):
            return set(records) == set(inputs) and all(
                np.ndim(v) == len(inputs[n]["shape"]) for n, v in records.items()
            )
        if len(inputs) != 1 or not isinstance(records, np.ndarray):
            return False
        return list(records.shape[1:]) == next(iter(inputs.values()))["shape"][1:]


def load_exported(path: str | Path, *, trust: tuple[str, ...] = ()) -> ExportedModel:
    """Open a folder that `dltrain export` wrote; see `ExportedModel`."""
    return ExportedModel(path, trust=trust)

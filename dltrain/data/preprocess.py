"""Scaling of inputs and regression targets: fitted on the training rows, applied in the graph."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.types import Array, Batch, Kind, Spec, Task


class Scale(StrEnum):
    """How numbers are brought to a common size before the model sees them."""

    NONE = "none"
    UNIT = "unit"  # [0, 1]
    SYMMETRIC = "symmetric"  # [-1, 1]
    STANDARD = "standard"  # zero mean, unit variance; regression targets too


@dataclass(frozen=True)
class Affine:
    """`(x - shift) / scale`, with arrays that broadcast against a batch on its last axis."""

    shift: np.ndarray
    scale: np.ndarray

    def forward(self, x: Array) -> Array:
        """Scale, [B, ...] of any dtype -> float32 [B, ...]."""
        return (x.astype(jnp.float32) - _over(self.shift, x.ndim)) / _over(self.scale, x.ndim)

    def inverse(self, x: Array) -> Array:
        """Undo `forward`, float32 [B, ...] -> [B, ...]."""
        return x * _over(self.scale, x.ndim) + _over(self.shift, x.ndim)


@dataclass(frozen=True)
class Preprocess:
    """What is done to a batch before the model, and undone before the metrics."""

    inputs: Affine | None  # None for tokens
    targets: Affine | None = None  # regression only
    reconstructs: bool = False  # whether the targets are the scaled inputs
    final: Callable[[Array], Array] | None = None  # applied to outputs before they are judged
    beside: tuple[str, ...] = ()  # what the model is given beside its main inputs

    def scaled(self, batch: Batch) -> dict[str, Any]:
        """Return the batch as augmentation and loss see it."""
        scaled = dict(batch)
        if self.inputs:
            scaled["inputs"] = self.inputs.forward(batch["inputs"])
        if self.targets:
            scaled["targets"] = self.targets.forward(batch["targets"])
        if self.reconstructs:  # before augmentation: noise is to be taken away
            scaled["targets"] = scaled["inputs"]
        return scaled

    def model_inputs(self, scaled: Batch) -> Any:
        """Return what the model is given of a scaled batch: an array, or a dict of them."""
        main = scaled["inputs"]
        return {"main": main, **{name: scaled[name] for name in self.beside}} if self.beside else main

    def outputs(self, outputs: Any) -> Any:
        """Return the outputs in the units of the data."""
        outputs = self.final(outputs) if self.final else outputs
        return self.targets.inverse(outputs) if self.targets else outputs

    def judged(self, raw: Batch, scaled: Batch) -> Batch:
        """Return the batch that metrics compare `outputs` with: targets in the units of the data, or mixed ones."""
        return raw if self.targets else {**raw, "targets": scaled["targets"]}

    def describe(self) -> dict[str, Any]:
        """List the numbers, to be kept with the run."""
        parts = {"inputs": self.inputs, "targets": self.targets}
        return {n: {"shift": a.shift.tolist(), "scale": a.scale.tolist()} for n, a in parts.items() if a}


Block = tuple[np.ndarray, np.ndarray]
"""Some rows: inputs [N, ...] and targets [N, ...]."""


def fit(inputs: np.ndarray, targets: np.ndarray, *, spec: Spec, scale: Scale) -> Preprocess:
    """Fit on the training rows: inputs [N, ...], targets [N, ...]; see `fit_blocks`."""
    return fit_blocks([(inputs, targets)], spec=spec, scale=scale)


def fit_blocks(blocks: Iterable[Block], *, spec: Spec, scale: Scale) -> Preprocess:
    """Fit on the training rows, some at a time, in one pass.

    A table has its own shift and scale for each column, a picture for each channel. A constant column is only
    shifted. Tokens are left as they are. Targets of a regression are standardised with `scale=standard`, and left
    alone otherwise.
    """
    inputs, targets = (None, None) if spec.kind is Kind.TOKENS else _fit(blocks, spec, scale)
    return Preprocess(
        inputs, targets, reconstructs=spec.task in (Task.RECONSTRUCTION, Task.ENERGY), beside=spec.beside
    )


def _fit(blocks: Iterable[Block], spec: Spec, scale: Scale) -> tuple[Affine, Affine | None]:
    width = spec.inputs.shape[-1]
    if scale is Scale.NONE:
        return _affine(np.zeros(width), np.ones(width)), None
    inputs, targets = Moments(), Moments()
    both = spec.task is Task.REGRESSION and scale is Scale.STANDARD
    for x, y in blocks:
        inputs.add(x)
        if both:
            targets.add(y)
    if scale is Scale.STANDARD:
        affine = _affine(inputs.mean, inputs.deviation)
        return affine, _affine(targets.mean, targets.deviation) if both else None
    low, high = inputs.low, inputs.high
    if spec.kind is Kind.IMAGE and spec.inputs.dtype == "uint8":  # all channels keep their proportion
        low, high = np.full(width, low.min()), np.full(width, high.max())
    if scale is Scale.SYMMETRIC:
        return _affine((low + high) / 2, (high - low) / 2), None
    return _affine(low, high - low), None


class Moments:
    """Count, mean, spread and bounds of columns, over blocks of rows (Chan, Golub and LeVeque 1979), in float64."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self.count = 0
        self.mean = self._squares = np.zeros(1)
        self.low, self.high = np.full(1, np.inf), np.full(1, -np.inf)

    def add(self, values: np.ndarray) -> None:
        """Add rows [N, ..., columns]."""
        flat = values.reshape(-1, values.shape[-1])
        count = len(flat)
        mean, squares = _of_bytes(flat) if values.dtype == np.uint8 else _of_floats(flat)
        total = self.count + count
        gap = mean - self.mean
        self._squares = self._squares + squares + gap**2 * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total
        self.low, self.high = np.minimum(self.low, flat.min(0)), np.maximum(self.high, flat.max(0))

    @property
    def deviation(self) -> np.ndarray:
        """Population deviation of each column."""
        return np.sqrt(self._squares / self.count)


def _of_bytes(flat: np.ndarray) -> Block:
    """Mean and sum of squared distances of uint8 columns, from counts: no float64 copy of many pictures."""
    counts = np.stack([np.bincount(column, minlength=256) for column in flat.T])
    levels = np.arange(256.0)
    mean = counts @ levels / len(flat)
    return mean, (counts * (levels[None, :] - mean[:, None]) ** 2).sum(1)


def _of_floats(flat: np.ndarray) -> Block:
    mean = flat.mean(0, dtype=np.float64)
    return mean, ((flat - mean[None, :]) ** 2).sum(0)


def _affine(shift: np.ndarray, size: np.ndarray) -> Affine:
    return Affine(shift.astype(np.float32), np.where(size > 0, size, 1.0).astype(np.float32))


def _over(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape((1,) * (ndim - 1) + values.shape)

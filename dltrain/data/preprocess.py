"""Scaling of inputs and regression targets: fitted on the training rows, applied in the graph."""

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

    inputs: Affine
    targets: Affine | None = None  # regression only

    def scaled(self, batch: Batch) -> dict[str, Any]:
        """Return the batch as model and loss see it."""
        scaled = {**batch, "inputs": self.inputs.forward(batch["inputs"])}
        if self.targets:
            scaled["targets"] = self.targets.forward(batch["targets"])
        return scaled

    def outputs(self, outputs: Array) -> Array:
        """Return the outputs in the units of the data."""
        return self.targets.inverse(outputs) if self.targets else outputs

    def describe(self) -> dict[str, Any]:
        """List the numbers, to be kept with the run."""
        parts = {"inputs": self.inputs, "targets": self.targets}
        return {n: {"shift": a.shift.tolist(), "scale": a.scale.tolist()} for n, a in parts.items() if a}


def fit(inputs: np.ndarray, targets: np.ndarray, *, spec: Spec, scale: Scale) -> Preprocess:
    """Fit on the training rows: inputs [N, ...], targets [N, ...].

    A table has its own shift and scale for each column, a picture for each channel. A constant column is only
    shifted. Targets of a regression are standardised with `scale=standard`, and left alone otherwise.
    """
    per_row = spec.kind is Kind.IMAGE and inputs.dtype == np.uint8 and scale in (Scale.UNIT, Scale.SYMMETRIC)
    axes = tuple(range(inputs.ndim - 1))
    width = inputs.shape[-1]
    match scale:
        case Scale.NONE:
            shift, size = np.zeros(width), np.ones(width)
        case Scale.STANDARD:
            shift, size = _moments(inputs)
        case _:
            low, high = inputs.min(axes).astype(float), inputs.max(axes).astype(float)
            if per_row:  # all channels of a picture keep their proportion
                low, high = np.full(width, low.min()), np.full(width, high.max())
            shift, size = low, high - low
            if scale is Scale.SYMMETRIC:
                shift, size = (low + high) / 2, (high - low) / 2
    affine = _affine(shift, size)
    if spec.task is Task.REGRESSION and scale is Scale.STANDARD:
        return Preprocess(affine, _affine(*_moments(targets)))
    return Preprocess(affine)


def _affine(shift: np.ndarray, size: np.ndarray) -> Affine:
    return Affine(shift.astype(np.float32), np.where(size > 0, size, 1.0).astype(np.float32))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population deviation over all axes but the last, in float64."""
    flat = values.reshape(-1, values.shape[-1])
    if values.dtype == np.uint8:  # exact, and without a float64 copy of a large set of pictures
        counts = np.stack([np.bincount(column, minlength=256) for column in flat.T])
        levels, total = np.arange(256.0), len(flat)
        mean = counts @ levels / total
        return mean, np.sqrt((counts * (levels[None, :] - mean[:, None]) ** 2).sum(1) / total)
    return flat.mean(0, dtype=np.float64), flat.std(0, dtype=np.float64)


def _over(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape((1,) * (ndim - 1) + values.shape)

"""Predict the next rows of a time series."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dltrain.errors import ConfigError
from dltrain.tasks.task import Drawing, Task, columns_of_targets, decide_quantiles
from dltrain.types import Array, Kind, Spec


class Forecasting(Task):
    """Targets float [B, H, C], H steps of C columns; outputs [B, H, C], with several quantiles [B, H, C, Q]."""

    target_kind = Kind.NUMBERS
    standardizes_targets = True
    metrics_after_activation = True
    examples_may_repeat = True  # windows of a constant stretch are equal
    decision = "value"

    def outputs(self, spec: Spec) -> int:
        """Return H times C, times the number of quantiles."""
        return spec.target.size * max(1, len(self.quantiles))

    def output_shape(self, spec: Spec) -> tuple[int, ...]:
        """Return [H, C] or [H, C, Q]."""
        return (*spec.target.shape, *([len(self.quantiles)] if self.quantiles else []))

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless the targets are steps of floats."""
        super().check(spec)
        if len(spec.target.shape) != 2 or not np.issubdtype(np.dtype(spec.target.dtype), np.floating):
            raise ConfigError(
                f"task={self}: needs steps of numbers as targets, float [H, C], found {spec.target.dtype} "
                f"{list(spec.target.shape)}; data=series has them"
            )

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `value`, float [B, H, C], in the units of the data; with quantiles also `low` and `high`."""
        del spec
        return decide_quantiles(outputs, self.quantiles) if self.quantiles else {"value": outputs}

    def columns(self, decisions: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
        """Return a column for each target, and for each of its quantiles `NAME_qQ`: [N, H], a row for each step."""
        return columns_of_targets(decisions, spec, self)

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw forecasts of a few windows, with what came before and the truth."""
        del spec
        return {"forecasts": "forecasts"}

"""Predict numbers for each example."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dltrain.errors import ConfigError
from dltrain.tasks.task import Drawing, Task, columns_of_targets, decide_quantiles
from dltrain.types import Array, Kind, Spec


class Regression(Task):
    """Targets float [B, T]; outputs [B, T], with several quantiles [B, T, Q]."""

    target_kind = Kind.NUMBERS
    standardizes_targets = True
    metrics_after_activation = True
    decision = "value"

    def outputs(self, spec: Spec) -> int:
        """Return T, times the number of quantiles."""
        return spec.target.size * max(1, len(self.quantiles))

    def output_shape(self, spec: Spec) -> tuple[int, ...] | None:
        """Return [T, Q] for several quantiles."""
        return (*spec.target.shape, len(self.quantiles)) if self.quantiles else None

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless the targets are floats, [T] or one per example."""
        super().check(spec)
        if not np.issubdtype(np.dtype(spec.target.dtype), np.floating):
            raise ConfigError(f"task={self}: targets must be floats, found {spec.target.dtype}")
        if len(spec.target.shape) > 1:
            raise ConfigError(
                f"task={self}: targets must be numbers [T] per example, found {list(spec.target.shape)}; "
                "task=forecasting predicts steps of columns"
            )

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the `value`, float [B, T], in the units of the data; with quantiles also `low` and `high`."""
        del spec
        if self.quantiles:
            return decide_quantiles(outputs, self.quantiles)
        return {"value": outputs}

    def columns(self, decisions: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
        """Return a column for each target, named by it, and for each of its quantiles `NAME_qQ`, [N] each."""
        return columns_of_targets(decisions, spec, self)

    def constants(self, targets: np.ndarray, spec: Spec) -> dict[str, np.ndarray]:
        """Return the mean and the median of the training targets, [T], or their quantiles, [T, Q]."""
        del spec
        if self.quantiles:
            return {"quantiles of train": np.quantile(targets, self.quantiles, axis=0).T.astype(np.float32)}
        wide = targets.astype(np.float64)
        return {f"{word} of train": fit(wide, axis=0) for word, fit in (("mean", np.mean), ("median", np.median))}

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw predictions against true values."""
        del spec
        return {"samples": "samples"}

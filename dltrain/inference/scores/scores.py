"""The result of an evaluation: plain values, as they are printed and written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dltrain.engine.evaluate import Evaluation
from dltrain.inference.scores.bootstrap import Estimate, Resampling
from dltrain.inference.scores.calibration import Calibration
from dltrain.inference.scores.examples import Confused, Worst
from dltrain.inference.scores.ranking import Curve, areas_of

Metrics = dict[str, Estimate]
"""Name -> value with its interval."""


@dataclass(frozen=True)
class Part:
    """A class, a label, a target, a column or a step: how many values it has, and its metrics."""

    name: str
    counts: Mapping[str, int]
    metrics: Metrics

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"name": self.name, **self.counts, **{n: of.to_json() for n, of in self.metrics.items()}}


@dataclass(frozen=True)
class Residuals:
    """Predictions and errors of each target, float [N, T], or of the columns of a forecast, [N·H, C]."""

    names: Sequence[str]
    predicted: np.ndarray
    errors: np.ndarray  # truth minus prediction


@dataclass(frozen=True)
class Scores:
    """Every metric of a split.

    Attributes:
        evaluation: what the run itself reports, with the loss of each example.
        resampling: how the intervals were found.
        metrics: the loss and the metrics of the run, the values of which are those of `evaluation`.
        further: other metrics that suit the task.
        flipped: both of the mean over images and their mirror images, with `tta=flip`.
        kind: what the parts are: class, label, target or column; "" if there are none.
        parts: the metrics of each of them.
        steps: the metrics of each step of a forecast.
        calibration: how sure the model was, and how often right.
        curves: class or label -> it against the others.
        residuals: predictions and errors of numbers.
        worst: the examples with the largest losses.
        confused: pairs of classes, the most frequent first.
    """

    evaluation: Evaluation
    resampling: Resampling
    metrics: Metrics
    further: Metrics = field(default_factory=dict)
    flipped: Metrics = field(default_factory=dict)
    kind: str = ""
    parts: Sequence[Part] = ()
    steps: Sequence[Part] = ()
    calibration: Calibration | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)
    residuals: Residuals | None = None
    worst: Sequence[Worst] = ()
    confused: Sequence[Confused] = ()

    @property
    def examples(self) -> int:
        """The number of examples."""
        return len(self.evaluation.examples)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds: everything but curves, residuals and the lists of examples."""
        found: dict[str, Any] = {"examples": self.examples, "intervals": self.resampling.to_json()}
        if self.curves:
            drawn = areas_of(self.resampling, self.examples * len(self.parts))
            found["intervals"]["resamples_of_areas"] = drawn.count
        for name, metrics in (("metrics", self.metrics), ("further_metrics", self.further)):
            found[name] = {key: estimate.to_json() for key, estimate in metrics.items()}
        if self.flipped:
            found["tta"] = {"flip": {key: estimate.to_json() for key, estimate in self.flipped.items()}}
        if self.parts:
            found["kind"], found["parts"] = self.kind, [part.to_json() for part in self.parts]
        if self.steps:
            found["steps"] = [step.to_json() for step in self.steps]
        if self.calibration is not None:
            found["calibration"] = self.calibration.to_json()
        arrays = {name: array.tolist() for name, array in self.evaluation.arrays.items()}
        return found | ({"arrays": arrays} if arrays else {})

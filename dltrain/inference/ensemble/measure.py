"""The loss and metrics of outputs that are known, such as those of an ensemble, as an evaluator reports them."""

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.build.program import Program
from dltrain.data.preprocess import Preprocess
from dltrain.engine.evaluate import Evaluation
from dltrain.engine.step import named_values, value_weights
from dltrain.inference.bundle import Bundle
from dltrain.metrics import log_loss
from dltrain.tasks import Task
from dltrain.types import Batch, Kind, Spec

OutputsOf = Callable[[np.ndarray], np.ndarray]
"""Numbers of examples, int [N] -> their outputs in the units of the data, [N, ...]."""


class Measure:
    """Computes the loss and the metrics of a run from outputs in the units of the data.

    A loss that takes other outputs than metrics do (before `Preprocess.final`: members of a TabM, continuation
    ratios) is left out of the scalars; the losses of single examples are then log losses or squared errors.
    """

    def __init__(
        self,
        spec: Spec,
        preprocess: Preprocess,
        loss: Callable[..., Any],
        metrics: Mapping[str, Any],
        *,
        batch_size: int,
    ) -> None:
        """Prepare; it is compiled once, at the first call."""
        self._metrics, self._size, self.reports_loss = metrics, batch_size, preprocess.final is None
        taken = _loss_taken(preprocess, loss) if self.reports_loss else _stand_in(spec.task)
        self._zero = {name: metric.zero() for name, metric in metrics.items()}

        @jax.jit
        def add(sums: Any, outputs: Any, raw: Batch) -> Any:
            scaled = preprocess.scaled(raw)
            seen, measured = dict(preprocess.metric_batch(raw, scaled)), preprocess.measured_predictions(outputs)
            sums = {name: metric.add(sums[name], measured, seen) for name, metric in metrics.items()}
            values = taken(outputs, scaled, raw)
            weights = value_weights(values, scaled)
            flat = (len(raw["mask"]), -1)
            weighted = jnp.where(weights > 0, values * weights, 0)
            return sums, weighted.reshape(flat).sum(1), weights.reshape(flat).sum(1)

        self._add = add

    @classmethod
    def of_program(
        cls, program: Program, *, own: Mapping[str, Any] | None = None, further: Mapping[str, Any] | None = None
    ) -> "Measure":
        """Return the metrics of a program, or those in `own` instead, and further ones."""
        parts, size = program.parts, program.plan.eval_batch_size
        metrics = {**(parts.metrics if own is None else own), **(further or {})}
        return cls(parts.spec, parts.preprocess, parts.objective.loss, metrics, batch_size=size)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> "Measure":
        """Return the metrics of a trained model, for given examples."""
        about = (bundle.spec, bundle.preprocess, bundle.objective.loss, bundle.metrics)
        return cls(*about, batch_size=bundle.batch_size)

    def __call__(self, outputs: np.ndarray, read: Callable[[np.ndarray], Any], examples: np.ndarray) -> Evaluation:
        """Evaluate.

        Args:
            outputs: in the units of the data, [N, ...].
            read: reads raw examples by their numbers, as `Source.read`.
            examples: their numbers, int [N].
        """
        sums, totals, weights = self._zero, [], []
        for start in range(0, len(examples), self._size):
            places = np.arange(start, start + self._size)
            valid, places = places < len(examples), np.minimum(places, len(examples) - 1)
            raw = {**read(examples[places]), "mask": valid}
            sums, total, weight = self._add(sums, outputs[places], raw)
            totals.append(np.asarray(total, np.float64)[valid])
            weights.append(np.asarray(weight, np.float64)[valid])
        total, weight = np.concatenate(totals), np.concatenate(weights)
        loss = float(total.sum() / weight.sum()) if weight.any() else float("nan")
        scalars, arrays = self._values(jax.device_get(sums))
        scalars = ({"loss": loss} if self.reports_loss else {}) | scalars
        return Evaluation(scalars, arrays, examples, total / np.maximum(weight, 1e-12), weight)

    def _values(self, sums: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return metrics that are numbers, those of parts as `NAME/PART`, and those that are arrays."""
        scalars, arrays = {}, {}
        for name, metric in self._metrics.items():
            value = metric.value(sums[name])
            if isinstance(value, np.ndarray):
                arrays[name] = value
            elif isinstance(value, Mapping):
                scalars |= {f"{name}/{part}": float(of) for part, of in value.items()}
            else:
                scalars[name] = float(value)
        return scalars, arrays


class CombinedEvaluator:
    """What takes the place of a program's evaluator, so that an ensemble is scored and drawn as a model is."""

    def __init__(self, outputs_of: OutputsOf, measure: Measure, read: Callable[[np.ndarray], Any]) -> None:
        """Take what returns the outputs of examples, and what reads the examples."""
        self._outputs_of, self._measure, self._read = outputs_of, measure, read

    def __call__(self, params: Any, model_state: Any, examples: np.ndarray) -> Evaluation:
        """Evaluate these examples, int [N]; the weights are those of the members."""
        return self._measure(self.outputs(params, model_state, examples), self._read, examples)

    def outputs(self, params: Any, model_state: Any, examples: np.ndarray) -> np.ndarray:
        """Return the outputs for these examples, [N, ...]."""
        del params, model_state
        return self._outputs_of(examples)


def _loss_taken(preprocess: Preprocess, loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return the loss of outputs in the units of the data, which are scaled as the targets are."""
    scaling = replace(preprocess, standardised_metrics=True)

    def taken(outputs: Any, scaled: Batch, raw: Batch) -> Any:
        del raw
        values = named_values(loss(scaling.measured_predictions(outputs), scaled))
        return functools.reduce(operator.add, values.values())

    return taken


def _stand_in(task: Task) -> Callable[..., Any]:
    """Return an error of each example where the loss is not a function of these outputs."""

    def error(outputs: Any, scaled: Batch, raw: Batch) -> Any:
        del scaled
        if task.target_kind is Kind.CATEGORY:
            return log_loss(outputs, raw)
        targets = jnp.asarray(raw["targets"], jnp.float32)
        if task.target_kind is Kind.LABELS:
            each = jax.nn.softplus(outputs) - targets * outputs
        else:
            middle = outputs[..., len(task.quantiles) // 2] if task.quantiles else outputs
            each = jnp.square(middle.reshape(targets.shape) - targets)
        return each.reshape(len(targets), -1).mean(1)

    return error

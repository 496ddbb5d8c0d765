"""Calibration of classes by one temperature T: probabilities become softmax(log p / T), classes stay.

Guo et al., On calibration of modern neural networks, arXiv:1706.04599, section 4.2.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dltrain.inference.scores.calibration import calibrate
from dltrain.tasks import Task
from dltrain.tasks.classification import Classification

LOWEST, HIGHEST = 0.01, 100.0
"""Ends of the search: if no example is misclassified, the log loss falls for ever as T approaches 0."""


@dataclass(frozen=True)
class Calibrated:
    """A fitted temperature, with the log loss (in nats) and the expected calibration error before and after.

    Attributes:
        temperature: above 1 for a model that was too confident.
        of: the examples that it was fitted on: `validation`, or `out-of-fold`.
        examples: their number.
        log_loss: mean of -log p of the right class, before and after.
        ece: expected calibration error with 15 bins, before and after.
    """

    temperature: float
    of: str
    examples: int
    log_loss: tuple[float, float]
    ece: tuple[float, float]

    @property
    def at_bound(self) -> bool:
        """Whether the log loss has no minimum within the range: it falls to the end of it, or to zero."""
        return not 1.01 * LOWEST < self.temperature < 0.99 * HIGHEST or self.log_loss[1] < 1e-6

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def has_classes(task: Task) -> bool:
    """Tell whether outputs of a task are logits of classes, which a temperature applies to."""
    return isinstance(task, Classification)


def calibrate_outputs(outputs: np.ndarray, targets: np.ndarray, *, of: str) -> Calibrated:
    """Fit a temperature on logits [N, K], or [N, 1] of the second of two classes, and targets int [N]."""
    temperature = fit_temperature(outputs, targets)
    losses = [log_loss(outputs, targets, t) for t in (1.0, temperature)]
    errors = [calibration_error(outputs, targets, t) for t in (1.0, temperature)]
    return Calibrated(temperature, of, len(targets), (losses[0], losses[1]), (errors[0], errors[1]))


def fit_temperature(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Return the temperature with the smallest log loss, from LOWEST to HIGHEST; 1 if the log loss is not finite.

    The log loss is convex in 1 / T, so the minimum in log T is the only one.

    Args:
        outputs: logits [N, K], or [N, 1] of the second of two classes.
        targets: the right classes, int [N].
    """
    from scipy.optimize import minimize_scalar  # which jax needs, too

    if not np.isfinite(log_loss(outputs, targets, 1.0)):
        return 1.0
    ends = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    found: Any = minimize_scalar(
        lambda log_t: log_loss(outputs, targets, float(np.exp(log_t))),
        bounds=ends,
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def with_temperature(outputs: np.ndarray, temperature: float) -> np.ndarray:
    """Return the logits of softmax(log p / T), of the shape and dtype of `outputs`."""
    return outputs if temperature == 1.0 else (outputs / np.asarray(temperature, outputs.dtype))


def log_probabilities(outputs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return log softmax(outputs / T) in float64, [N, K] or [N, 1] -> [N, K]."""
    logits = np.asarray(outputs, np.float64) / temperature
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], -1)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def log_loss(outputs: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean of -log p of the right class, in nats."""
    logs = log_probabilities(outputs, temperature)
    return float(-np.take_along_axis(logs, np.asarray(targets, int)[:, None], 1).mean())


def calibration_error(outputs: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    """Return the expected calibration error of the predicted classes, 0 to 1."""
    logs = log_probabilities(outputs, temperature)
    right = logs.argmax(-1) == np.asarray(targets)
    return calibrate(np.exp(logs.max(-1)), right, what="the probability of the predicted class").error


def saved_calibration(saved: Mapping[str, Any]) -> Calibrated:
    """Return what `to_json` saved.

    Raises:
        KeyError, TypeError, ValueError: this is something else.
    """
    pairs = {name: tuple(float(v) for v in saved[name]) for name in ("log_loss", "ece")}
    if any(len(pair) != 2 for pair in pairs.values()):
        raise ValueError("calibration needs values before and after")
    return Calibrated(float(saved["temperature"]), str(saved["of"]), int(saved["examples"]), **pairs)  # ty: ignore

"""Events as callbacks receive them."""

import numpy as np

from dltrain.engine.evaluate import Evaluation
from dltrain.engine.events import StepLogs, TrainEvent


def event(step=10, *, found=None, logs=None, total=100, per_epoch=10):
    """An event; `found` are the scalars of an evaluation of the validation split."""
    results = {} if found is None else {"validation": Evaluation(found, {}, np.zeros(0, int), np.zeros(0))}
    return TrainEvent(step, total, per_epoch, "state", logs, results)


def accuracies(best, *values, loss=1.0):
    """Pass these accuracies to a callback at steps 10, 20, ...; return which improved."""
    improved = []
    for number, value in enumerate(values, 1):
        best(event(10 * number, found={"accuracy": value, "loss": loss}))
        improved.append(best.improved)
    return improved


def chunk_logs(first, finite):
    """Logs of a chunk with room for 16 steps; `finite` gives those of its steps."""
    count = len(finite)
    arrays = {name: np.zeros(16, np.float32) for name in ("finite", "loss", "gradient_norm")}
    arrays["finite"][:count] = finite
    arrays["loss"][:count] = np.where(finite, 0.5, np.nan)
    return event(first + count - 1, logs=StepLogs(first, count, arrays))

"""The predictions of several models for the same examples as one: means of their probabilities, or of values."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.errors import ConfigError
from dltrain.tasks import Level, Task
from dltrain.types import Kind

AVERAGED = (Kind.CATEGORY, Kind.LABELS, Kind.NUMBERS)


def check_averaged(task: Task) -> None:
    """Raise ConfigError unless the predictions of a task have a mean: those of classes, labels and numbers."""
    if task.generates or task.target_kind not in AVERAGED or task.level is Level.STEP:
        raise ConfigError(f"ensemble: averages predictions of classes, labels or numbers, not those of task={task}")


def combine(outputs: Sequence[Any], task: Task) -> np.ndarray:
    """Return the outputs of the ensemble, [N, ...], from those of its members in the units of the data.

    Of classes, the logarithm of the mean of their probabilities, [N, K]; of labels, and of two classes with one
    output, the logit of the mean, [N, T]; of numbers the mean. Each quantile is the mean of the members' quantiles,
    which are sorted first, as predictions are. A single member's outputs stay as they are.
    """
    members = [np.asarray(one) for one in outputs]
    if task.quantiles:
        members = [np.sort(one, -1) for one in members]
    return members[0] if len(members) == 1 else np.asarray(task.combine(jnp.asarray(np.stack(members, 1))))

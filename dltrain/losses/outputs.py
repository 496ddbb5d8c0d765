"""What a loss takes (logits or probabilities): declared with the loss, checked before training."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any


class Outputs(StrEnum):
    """What a loss takes, or what a model returns."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_MEANS = "log_means"  # logarithms of the predicted means
    VALUES = "values"  # whatever the model returns


@dataclass(frozen=True)
class LossInputs:
    """What a loss takes.

    Attributes:
        outputs: what the model's outputs must be.
        independent: whether each logit is of a target of its own from 0 to 1, so that sigmoids are predictions.
    """

    outputs: Outputs = Outputs.VALUES
    independent: bool = False


def takes(outputs: Outputs | str, *, independent: bool = False) -> Callable[[Any], Any]:
    """Declare what a loss takes, as a decorator: `@takes("logits")`."""
    taken = LossInputs(Outputs(outputs), independent)

    def mark(loss: Any) -> Any:
        loss.takes = taken
        return loss

    return mark


def loss_inputs(loss: Any) -> LossInputs:
    """Return what a loss takes, with or without its options bound; by default any values."""
    while isinstance(loss, partial):
        loss = loss.func
    return getattr(loss, "takes", LossInputs())

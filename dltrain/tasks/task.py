"""What a task answers, with the answers that most tasks share.

Tasks inherit these answers, so that a task keeps working when the program learns to ask another question.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from dltrain.errors import ConfigError
from dltrain.types import Array, Kind, Spec

Drawing = str | Callable[..., Any]
"""A figure: the name of one that the report knows (samples, captions, masks, reconstructions), or a function
`(inputs [N, ...], targets [N, ...], decisions, spec) -> matplotlib Figure`, called with a few examples."""

NEEDED = {
    Kind.CATEGORY: "one class per example",
    Kind.NUMBERS: "numbers",
    Kind.TOKENS: "tokens",
}


class Level(StrEnum):
    """What has an output of its own."""

    EXAMPLE = "example"
    STEP = "step"
    PIXEL = "pixel"


class Generates(StrEnum):
    """What a model of this task can generate, token by token."""

    CONTINUATION = "continuation"  # of a prompt
    ANSWER = "answer"  # to the inputs; metrics judge it


@dataclass(frozen=True)
class Task:
    """What is to be done with the targets; tasks are equal if their class and their options are.

    Attributes:
        target_kind: what the targets must be; None where the task needs none.
        targets_are_inputs: whether the scaled inputs take the place of the targets.
        level: what has an output of its own.
        generates: what a model of this task generates.
        needs: methods that a model of this task must have.
        standardizes_targets: whether `data.scale=standard` scales the targets, too.
        metrics_after_activation: whether metrics see the outputs behind `model.output_activation`, as metrics of
            numbers do; metrics of classes take logits.
        examples_may_repeat: whether equal examples in two splits are no sign of a mistake.
        decision: the entry of `decide` that is compared with the targets.
    """

    target_kind: ClassVar[Kind | None] = None
    targets_are_inputs: ClassVar[bool] = False
    level: ClassVar[Level] = Level.EXAMPLE
    generates: ClassVar[Generates | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    standardizes_targets: ClassVar[bool] = False
    metrics_after_activation: ClassVar[bool] = False
    examples_may_repeat: ClassVar[bool] = False
    decision: ClassVar[str] = ""

    def __str__(self) -> str:
        """Return the name, as in task=NAME."""
        return type(self).__name__.lower()

    @property
    def supervised(self) -> bool:
        """Whether the model learns from the targets of the data."""
        return self.target_kind is not None

    def outputs(self, spec: Spec) -> int:
        """Return how many numbers a model returns for each example, step or pixel."""
        raise NotImplementedError(f"{type(self).__name__} must define outputs(spec)")

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Turn outputs [B, ...], in the units of the data, into what a user wants, by name."""
        raise NotImplementedError(f"{type(self).__name__} must define decide(outputs, spec)")

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless the targets of the data are of the kind that the task needs."""
        if self.target_kind is None:
            return
        if self.target_kind is not spec.target.kind:
            raise ConfigError(f"task={self}: needs {NEEDED[self.target_kind]} as targets, {_found(spec)}")

    def check_targets(self, targets: np.ndarray, spec: Spec) -> None:
        """Raise DataError, naming the first bad row, unless all targets [N, ...] make sense.

        Shapes, types, finite numbers, and the range of classes and tokens have been checked before.
        """
        del targets, spec

    def classes(self, spec: Spec) -> int:
        """Return how many classes metrics of classes tell apart; ValueError where there are none."""
        raise ValueError(f"a metric of classes cannot judge a {self}; take rmse, mae, r2 or mse")

    def soft_targets(self, targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
        """Return classes, int [B], as probabilities that can be mixed; ValueError where there are none."""
        raise ValueError(f"only classes and values per example can be mixed, not targets of task={self}")

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Return the figures of an evaluated split: file name -> drawing."""
        del spec
        return {}


def check_classes(task: Task, spec: Spec) -> None:
    """Raise ConfigError unless the target is two classes or more."""
    count = len(spec.classes)
    if count < 2:
        raise ConfigError(f"task={task}: needs at least two classes, the data names {count}")


def _found(spec: Spec) -> str:
    target = spec.target
    if target.kind is not Kind.CATEGORY:
        return f"and this data has {'numbers' if target.kind is Kind.NUMBERS else target.kind.words}"
    where = "a class for each pixel" if target.shape else "one class per example"
    few = ", ".join(target.vocabulary[:5]) + ", ..." * (len(target.vocabulary) > 5)
    return f"and this data has {where} ({few})"

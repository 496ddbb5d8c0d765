"""The interface of a task, with the defaults that most tasks share.

Tasks inherit these defaults, so that a task keeps working when the interface gains a method.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.errors import ConfigError
from dltrain.types import Array, Kind, Spec

Drawing = str | Callable[..., Any]
"""A figure: the name of a built-in one (samples, captions, masks, reconstructions), or a function
`(inputs [N, ...], targets [N, ...], decisions, spec) -> matplotlib Figure`, called with a few examples."""

NEEDED = {
    Kind.CATEGORY: "one class per example",
    Kind.NUMBERS: "numbers",
    Kind.LABELS: "several labels per example",
    Kind.TOKENS: "tokens",
}


class Level(StrEnum):
    """What a model returns one output for."""

    EXAMPLE = "example"
    STEP = "step"
    PIXEL = "pixel"


class Generates(StrEnum):
    """What a model of this task can generate, token by token."""

    CONTINUATION = "continuation"  # of a prompt
    ANSWER = "answer"  # to the inputs; metrics evaluate it


@dataclass(frozen=True)
class Task(ABC):
    """How the targets of the data are used; tasks are equal if their class and their options are equal.

    Attributes:
        target_kind: kind that the targets must have; None if the task needs no targets.
        targets_are_inputs: whether the scaled inputs replace the targets.
        level: what a model returns one output for.
        generates: what a model of this task generates.
        needs: methods that a model of this task must have.
        standardizes_targets: whether `data.scale=standard` also scales the targets.
        metrics_after_activation: whether metrics get the outputs after `model.output_activation`, as metrics of
            numbers do; metrics of classes get logits.
        examples_may_repeat: whether equal examples in two splits are expected, and not reported as leakage.
        decision: the entry of `decide` to compare with the targets.
        quantiles: quantiles that are predicted instead of one value, which `loss=quantile` gives; the outputs have
            them on a further axis, and the middle one counts as the value.
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
    quantiles: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return the name, as in task=NAME."""
        return type(self).__name__.lower()

    @property
    def supervised(self) -> bool:
        """Whether the model learns from the targets of the data."""
        return self.target_kind is not None

    @abstractmethod
    def outputs(self, spec: Spec) -> int:
        """Return the number of outputs of a model for each example, step or pixel."""

    @abstractmethod
    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Convert outputs [B, ...], in the units of the data, to named predictions."""

    def output_shape(self, spec: Spec) -> tuple[int, ...] | None:
        """Return the shape that the outputs of an example, [outputs], are brought into; None: they stay."""
        del spec
        return None

    def finish(self, outputs: Any, spec: Spec) -> Any:
        """Convert the outputs that the loss takes to those that metrics and `decide` take; by default the same."""
        del spec
        return outputs

    def combine(self, outputs: Array) -> Array:
        """Average the finished outputs of k members, [B, k, ...] -> [B, ...]; of classes, their probabilities."""
        return outputs.mean(1)

    def check(self, spec: Spec) -> None:
        """Raise ConfigError unless the targets of the data are of the kind that the task needs."""
        if self.target_kind is None:
            return
        if self.target_kind is not spec.target.kind:
            raise ConfigError(f"task={self}: needs {NEEDED[self.target_kind]} as targets, {_found(spec)}")

    def check_targets(self, targets: np.ndarray, spec: Spec) -> None:
        """Raise DataError, naming the first bad example, unless all targets [N, ...] are valid.

        Shapes, dtypes, finite values, and the range of classes and tokens are already checked.
        """
        del targets, spec

    def classes(self, spec: Spec) -> int:
        """Return the number of classes for metrics of classes; ValueError if the task has none."""
        raise ValueError(f"a metric of classes cannot evaluate task={self}; use rmse, mae, r2 or mse")

    def soft_targets(self, targets: Array, dtype: jnp.dtype, spec: Spec) -> Array:
        """Return classes, int [B], as probabilities that can be mixed; ValueError if the task has none."""
        raise ValueError(f"only classes and values per example can be mixed, not targets of task={self}")

    def constants(self, targets: np.ndarray, spec: Spec) -> dict[str, np.ndarray]:
        """Return what a model without inputs would predict at best, by name: outputs as metrics see them, [...].

        Args:
            targets: those of the training examples, [N, ...], in the units of the data.
            spec: the features of the data.
        """
        del targets, spec
        return {}

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Return the figures of an evaluated split: file name -> drawing."""
        del spec
        return {}


def decide_quantiles(outputs: Array, quantiles: tuple[float, ...]) -> dict[str, Array]:
    """Return `value`, the middle quantile, and the lowest and highest as `low` and `high`: [B, ..., Q] -> [B, ...].

    A model may predict quantiles that cross; they are sorted first (Chernozhukov et al. 2010).
    """
    ordered = jnp.sort(jnp.asarray(outputs), -1)
    return {"value": ordered[..., len(quantiles) // 2], "low": ordered[..., 0], "high": ordered[..., -1]}


def mean_logits(logits: Array) -> Array:
    """Return the logits of the mean probabilities of k members, from logits of independent labels: axis 1."""
    yes, no = (jax.nn.logsumexp(jax.nn.log_sigmoid(sign * logits), axis=1) for sign in (1, -1))
    return yes - no


def check_classes(task: Task, spec: Spec) -> None:
    """Raise ConfigError unless the target has at least two classes."""
    count = len(spec.classes)
    if count < 2:
        raise ConfigError(f"task={task}: needs at least two classes, the data has {count}")


def _found(spec: Spec) -> str:
    target = spec.target
    if target.kind is not Kind.CATEGORY:
        return f"and this data has {'numbers' if target.kind is Kind.NUMBERS else target.kind.words}"
    where = "a class for each pixel" if target.shape else "one class per example"
    few = ", ".join(target.vocabulary[:5]) + ", ..." * (len(target.vocabulary) > 5)
    return f"and this data has {where} ({few})"

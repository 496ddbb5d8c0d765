"""The interface of a task, with the defaults that most tasks share.

Tasks inherit these defaults, so that a task keeps working when the interface gains a method.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from dltrain.errors import ConfigError
from dltrain.types import Array, Kind, Spec

MOST_COLUMNS = 1000  # that one decision is divided into

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

    def columns(self, decisions: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
        """Return decisions, [N, ...] each, as columns of a table: [N], or [N, H] for H rows of each example.

        By default each decision is a column, or one for each of its elements. A subclass names classes and targets.

        Raises:
            ConfigError: they have too many elements for columns, as masks and images have.
        """
        del spec
        found: dict[str, np.ndarray] = {}
        for name, values in decisions.items():
            found |= as_columns(name, np.asarray(values), task=str(self))
        return found

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


def columns_of_targets(decisions: Mapping[str, np.ndarray], spec: Spec, task: Task) -> dict[str, np.ndarray]:
    """Return a column for each target, [B, T] -> [B], or [B, H, T] -> [B, H], and those of its quantiles."""
    (target,), found = spec.targets.values(), {}
    wide = target.shape[-1] if target.shape else 1
    plain = ["value"] if wide == 1 else [f"value_{i}" for i in range(wide)]
    names = target.names if len(target.names) == wide else plain
    parts = {"": decisions["value"]}
    for number, quantile in enumerate(task.quantiles):
        parts[f"_q{quantile:g}"] = np.asarray(decisions["quantiles"])[..., number]
    for suffix, part in parts.items():
        values = np.asarray(part).reshape(-1, *target.shape[:-1], wide)
        found |= {f"{name}{suffix}": values[..., i] for i, name in enumerate(names)}
    return found


def decide_quantiles(outputs: Array, quantiles: tuple[float, ...]) -> dict[str, Array]:
    """Return `value`, the middle quantile, the lowest and highest as `low` and `high`, and all `quantiles`.

    [B, ..., Q] -> [B, ...], and [B, ..., Q] for all. A model may predict quantiles that cross; they are sorted
    first (Chernozhukov et al. 2010).
    """
    ordered = jnp.sort(jnp.asarray(outputs), -1)
    parts = {"value": ordered[..., len(quantiles) // 2], "low": ordered[..., 0], "high": ordered[..., -1]}
    return {**parts, "quantiles": ordered}


def as_columns(name: str, values: np.ndarray, *, task: str, names: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Return an array [N] or [N, T] as columns; `names` are those of its elements, where they have any.

    Raises:
        ConfigError: there are more than MOST_COLUMNS.
    """
    if values.ndim == 1:
        return {(names[0] if len(names) == 1 else name): values}
    flat = values.reshape(len(values), -1)
    if flat.shape[1] > MOST_COLUMNS:
        raise ConfigError(
            f"{name} of task={task} has {flat.shape[1]:,} values for each example, too many for the columns of a "
            "table; write an .npz file"
        )
    if len(names) != flat.shape[1]:
        names = [name] if flat.shape[1] == 1 else [f"{name}_{i}" for i in range(flat.shape[1])]
    return {column: flat[:, i] for i, column in enumerate(names)}


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

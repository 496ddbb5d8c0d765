"""What a preprocessing step is, and a chain of fitted steps."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dltrain.errors import ConfigError
from dltrain.types import Array, Feature


class Step(Protocol):
    """One operation on a feature before the model sees it.

    A step also has a host half, a graph half, or both. Without the methods of a half, that half changes nothing.

    The host half turns raw values into arrays, and runs before batches are put on the device:

    - `host(values [N, ...]) -> array [N, ...]`. It must accept what it returned, unchanged.

    The graph half turns arrays into model inputs inside the compiled program:

    - `forward(x [B, ...]) -> [B, ...]` in jax.numpy, and
    - `inverse(x [B, ...]) -> [B, ...]`, which returns to the units before the step as far as that is possible.

    A step that changes the shape or dtype of an example says so with `describe(Feature) -> Feature`.
    """

    def fit(self, blocks: Iterable[np.ndarray]) -> "Step":
        """Return the fitted step, after one pass over the training examples, [n, ...] at a time."""
        ...

    def to_json(self) -> Mapping[str, Any]:
        """Return what was fitted, in values that JSON holds; a float32 array as a list keeps its bits."""
        ...

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Step":
        """Rebuild the fitted step from what `to_json` returned."""
        ...


class Encoder(Protocol):
    """What turns records, as people have them, into the arrays of all inputs: the columns of a table, texts.

    A source whose arrays depend on the training examples (levels of a category, a vocabulary) is not a `Source`
    itself: it has `encode(train indices) -> (Source, Encoder)` and `read_targets()` instead of `read`.
    """

    def encode(self, records: Any) -> Any:
        """Return the arrays of the inputs: of several features a dict by name, [N, ...]. Arrays stay as they are.

        Args:
            records: column -> values [N], or a data frame with these columns.

        Raises:
            DataError: a column is missing, or holds what cannot be read.
        """
        ...

    def to_json(self) -> Mapping[str, Any]:
        """Return what was fitted, in values that JSON holds."""
        ...

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Encoder":
        """Rebuild the encoder."""
        ...


Locate = Callable[[str], Any]
"""Finds the class of a dotted name, or raises ConfigError if a config may not name it."""


@dataclass(frozen=True, eq=False)
class Chain:
    """The fitted steps of one feature, in order."""

    steps: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.steps)

    def host(self, values: Any) -> Any:
        """Apply the host halves: raw values [N, ...] -> array [N, ...]."""
        for step in self.steps:
            values = step.host(values) if has_host(step) else values
        return values

    def forward(self, x: Array) -> Array:
        """Apply the graph halves, [B, ...] -> [B, ...]."""
        for step in self.steps:
            x = step.forward(x) if has_graph(step) else x
        return x

    def inverse(self, x: Array) -> Array:
        """Undo the graph halves, last step first, [B, ...] -> [B, ...]."""
        for step in reversed(self.steps):
            x = step.inverse(x) if has_graph(step) else x
        return x

    def to_json(self) -> list[dict[str, Any]]:
        """List each step: the class that reads it back, and what was fitted."""
        return [named_json(step) for step in self.steps]

    @classmethod
    def from_json(cls, saved: Sequence[Mapping[str, Any]], locate: Locate) -> "Chain":
        """Rebuild the fitted steps.

        Raises:
            ConfigError: a step is of a class that may not be named.
            KeyError, TypeError, ValueError: this is not what `to_json` returns.
        """
        steps = []
        for entry in saved:
            step = locate(entry["_target_"])
            check_step(step, str(entry["_target_"]))
            steps.append(step.from_json(entry["fitted"]))
        return cls(tuple(steps))


def named_json(fitted: Any) -> dict[str, Any]:
    """Return what was fitted, and the class that reads it back."""
    return {"_target_": f"{type(fitted).__module__}.{type(fitted).__qualname__}", "fitted": dict(fitted.to_json())}


def has_host(step: Any) -> bool:
    """Whether a step, or a class of steps, has a host half."""
    return hasattr(step, "host")


def has_graph(step: Any) -> bool:
    """Whether a step, or a class of steps, has a graph half."""
    return hasattr(step, "forward")


def check_step(step: Any, where: str) -> None:
    """Raise ConfigError unless `step` (or its class) has the methods of a step."""
    needed = ["fit", "to_json", "from_json", *(["inverse"] if has_graph(step) else [])]
    if lost := [name for name in needed if not callable(getattr(step, name, None))]:
        name = step.__name__ if inspect.isclass(step) else type(step).__name__
        raise ConfigError(f"{where}: {name} is not a preprocessing step: it has no {', '.join(lost)}")


def check_order(steps: Sequence[Any], where: str) -> None:
    """Raise ConfigError if a host half would come after a graph half: all host halves run first."""
    first = next((i for i, step in enumerate(steps) if has_graph(step)), len(steps))
    if late := next((i for i, step in enumerate(steps) if i > first and has_host(step)), None):
        raise ConfigError(f"{where}[{late}]: host halves run before graph halves; put it before {where}[{first}]")


def described(steps: Iterable[Any], feature: Feature) -> Feature:
    """Return the feature as it is behind these steps."""
    for step in steps:
        feature = step.describe(feature) if hasattr(step, "describe") else feature
    return feature


def passed(steps: Sequence[Any], blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass blocks through both halves of fitted steps, for the fit of the next one."""
    chain = Chain(tuple(steps))
    for block in blocks:
        yield np.asarray(chain.forward(chain.host(block)))

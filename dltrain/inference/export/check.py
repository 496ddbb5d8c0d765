"""Comparison of an export with the model that it was made of, on real examples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.devices.precision import Precision
from dltrain.errors import ConfigError
from dltrain.inference.export.load_template import difference

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""Largest relative difference, by the type of computation; bfloat16 has 3 digits, and rounds at each operation."""

Function = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Checked:
    """How an export compares with the model: largest relative difference, and examples whose decision is a tie."""

    examples: int
    largest: float
    ties: np.ndarray  # bool [N]

    @property
    def words(self) -> str:
        """What is printed."""
        count = int(self.ties.sum())
        but = f" but for {count} ties within the tolerance" * bool(count)
        return f"largest difference {self.largest:.1e}, decisions equal{but}"


def tolerance_of(precision: Precision) -> float:
    """Return the largest relative difference that is accepted."""
    return TOLERANCE["float32" if precision.compute is None else str(jnp.dtype(precision.compute))]


def check(
    function: Function,
    inputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    *,
    outputs: Any,
    tolerance: float,
    what: str,
) -> Checked:
    """Run an export on examples, all at once and the first alone, and compare.

    Args:
        function: the export.
        inputs: arrays behind the host halves, [N, ...].
        expected: the decisions of the model.
        outputs: the outputs that led to them, [N, ...], which tell ties from mistakes.
        tolerance: largest relative difference.
        what: names the export in messages.

    Raises:
        ConfigError: it differs.
    """
    found = function(inputs)
    alone = function({name: array[:1] for name, array in inputs.items()})
    if set(found) != set(expected):
        raise ConfigError(f"export: {what} returns {', '.join(found)}, expected {', '.join(expected)}")
    count, largest = len(next(iter(expected.values()))), 0.0
    ties = np.zeros(count, bool)
    for name, right in expected.items():
        one = _differences(name, right, np.asarray(found[name]), outputs, tolerance, what)
        single = _differences(name, right[:1], np.asarray(alone[name]), _first(outputs), tolerance, what)
        ties |= one[1]
        largest = max(largest, one[0], single[0])
    if not largest <= tolerance:
        raise ConfigError(
            f"export: {what} differs from the model by {largest:.1e} (relative), more than {tolerance:g}, so "
            "nothing is written"
        )
    return Checked(count, largest, ties)


def _differences(
    name: str, expected: np.ndarray, found: np.ndarray, outputs: Any, tolerance: float, what: str
) -> tuple[float, np.ndarray]:
    """Return the largest difference of numbers, and which examples have a decision that is a tie."""
    if expected.dtype.kind == "f" or expected.shape != found.shape:
        return difference(name, expected, found), np.zeros(len(expected), bool)
    other = expected != found
    wrong = other & ~_tied(found, outputs, tolerance)
    if wrong.any():
        raise ConfigError(
            f"export: {what}: {name} differs in {int(wrong.sum()):,} of {wrong.size:,} decisions, so nothing is "
            "written"
        )
    return 0.0, other.reshape(len(other), -1).any(1)


def _tied(found: np.ndarray, outputs: Any, tolerance: float) -> np.ndarray:
    """Tell which decisions a change of the outputs within the tolerance would explain."""
    values = np.asarray(outputs, np.float64) if not isinstance(outputs, Mapping) else np.zeros(())
    room = tolerance * max(1.0, float(np.abs(values).max(initial=0)))
    if values.shape[:-1] == found.shape and values.shape[-1] > 1:  # one of several classes
        chosen = np.take_along_axis(values, found[..., None].astype(int), -1)[..., 0]
        return values.max(-1) - chosen <= room
    if values.size == found.size:  # yes or no, by the sign
        return np.abs(values.reshape(found.shape)) <= room
    return np.zeros(found.shape, bool)


def _first(outputs: Any) -> Any:
    return {name: array[:1] for name, array in outputs.items()} if isinstance(outputs, Mapping) else outputs[:1]

"""What a model itself says about examples, to which its exports are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.errors import ConfigError
from dltrain.inference.bundle import Bundle
from dltrain.inference.export import load_template
from dltrain.inference.export.check import Checked, check, tolerance_of
from dltrain.inference.export.examples import Examples


@dataclass(frozen=True, eq=False)
class Reference:
    """What the model itself says about the examples, to which each export is compared."""

    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]
    outputs: Any
    tolerance: float

    @classmethod
    def of(cls, bundle: Bundle, examples: Examples, former: Mapping[str, np.ndarray]) -> "Reference":
        """Run the model on examples; its decisions must be those of a `former` export, if there was one."""
        inputs = examples.inputs
        given = dict(inputs) if len(bundle.raw_spec.inputs) > 1 else next(iter(inputs.values()))
        outputs, tolerance = bundle.outputs(given), tolerance_of(bundle.precision)
        found = cls(inputs, dict(bundle.decisions(given)), outputs, tolerance)
        if former:
            found.check(
                lambda given: {name: array[: count(given)] for name, array in former.items()},
                "the former export",
            )
        return found

    @property
    def count(self) -> int:
        """Number of examples."""
        return count(self.inputs)

    def check(self, function: Any, what: str) -> Checked:
        """Compare an export; see `check.check`."""
        options: dict[str, Any] = {"outputs": self.outputs, "tolerance": self.tolerance, "what": what}
        return check(function, self.inputs, self.expected, **options)


def check_rows(described: Mapping[str, Any], examples: Examples) -> int:
    """Encode the rows of examples as load.py does, and compare with the arrays; return their number.

    Raises:
        ConfigError: an array differs.
    """
    if examples.rows is None or not load_template.encodes(described):
        return 0
    try:
        for name, array in load_template.encode(described, examples.rows).items():
            if not np.array_equal(load_template.prepare_one(described, name, array), examples.inputs[name]):
                raise ConfigError(f"export: load.py encodes {name} of the rows in another way than dltrain")
    except ValueError as error:
        raise ConfigError(f"export: load.py cannot encode the rows of the data: {error}") from error
    return len(examples.rows)


def count(inputs: Mapping[str, np.ndarray]) -> int:
    """Return the number of examples."""
    return len(next(iter(inputs.values())))

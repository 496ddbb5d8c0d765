"""Constraints on the results of the jobs of a sweep, such as `parameters<=10000`."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.config.hints import nearest
from dltrain.errors import ConfigError

WRITTEN = re.compile(r"\s*([\w./-]+)\s*(<=|>=|<|>)\s*(\S+)\s*")
NUMBERS = ("parameters", "seconds", "steps", "peak_memory", "epochs")
"""Numbers of summary.json that a constraint may name; anything else is a metric, as split/name."""


@dataclass(frozen=True)
class Constraint:
    """A bound of a number of a run."""

    name: str
    sign: str  # <=, <, >= or >
    bound: float

    def __str__(self) -> str:
        """Write it as it is typed."""
        return f"{self.name}{self.sign}{self.bound:g}"

    def violation(self, value: float | None) -> float:
        """Return by how much a value violates it: at most 0 if it holds; infinite for a value that is not known."""
        if value is None or math.isnan(value):
            return math.inf
        beyond = value - self.bound if "<" in self.sign else self.bound - value
        strict = "=" not in self.sign
        return math.nextafter(0, 1) if strict and beyond == 0 else beyond


def read_constraints(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Read `sweep.constraints`, or raise ConfigError."""
    return tuple(_read(str(text)) for text in texts)


def violated(constraints: Sequence[Constraint], summary: Mapping[str, Any]) -> list[str]:
    """Say which constraints a run with this summary violates, and its values."""
    found = [(c, number_of(summary, c.name)) for c in constraints]
    return [f"{c} (is {value:g})" if value is not None else f"{c} (is not known)"
            for c, value in found if c.violation(value) > 0]  # fmt: skip


def number_of(summary: Mapping[str, Any], name: str) -> float | None:
    """Return a metric (split/name) at the best step of a run, or a number of its summary; None without it."""
    split, slash, metric = name.partition("/")
    found = summary.get("best", {}).get(split, {}).get(metric) if slash else summary.get(name)
    if isinstance(found, Mapping):  # the memory of each device
        found = max(found.values(), default=None)
    return float(found) if isinstance(found, int | float) else None


def _read(text: str) -> Constraint:
    match = WRITTEN.fullmatch(text)
    right = "right would be sweep.constraints=['parameters<=10000','validation/accuracy>0.9']"
    if not match:
        raise ConfigError(f"sweep.constraints: {text}: must be a name, one of <= < >= >, and a number; {right}")
    name, sign, number = match.groups()
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise ConfigError(f"sweep.constraints: {text}: {number}: must be a finite number; {right}")
    if "/" not in name and name not in NUMBERS:
        raise ConfigError(
            f"sweep.constraints: {text}: {name}: no such number{nearest(name, NUMBERS)} "
            f"({', '.join(NUMBERS)}, or a metric such as validation/accuracy)"
        )
    return Constraint(name, sign, bound)

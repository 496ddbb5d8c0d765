"""What a search may vary: for each key a range of numbers or a list of choices, read from overrides."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dltrain.composition.overrides import write
from dltrain.composition.ranges import Sampled, read_sampled
from dltrain.config.hints import nearest
from dltrain.config.request import Override
from dltrain.errors import ConfigError

DECADES = 100 * (1 + 1e-9)  # a range whose ends differ by a larger factor is sampled in log space
DIGITS = 6  # of sampled numbers: more say nothing, and make words that nobody reads
SCALES = ("log", "linear")


@dataclass(frozen=True)
class Dimension:
    """One key that is varied: from `low` to `high`, or by one of `words`."""

    key: str
    words: tuple[str, ...] = ()  # of choices: each an override
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether it is a range of numbers."""
        return not self.words

    @property
    def count(self) -> float:
        """How many values it has."""
        if self.words:
            return len(self.words)
        step = self.step or (1 if self.whole else 0)
        return round((self.high - self.low) / step) + 1 if step else math.inf

    def distribution(self) -> Any:
        """Return the distribution for Optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.words:
            return CategoricalDistribution([word.partition("=")[2] for word in self.words])
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def word(self, value: Any) -> str:
        """Write the override for a value that was sampled."""
        if self.words:
            return f"{self.key}={value}"
        if self.whole:
            return f"{self.key}={int(value)}"
        return f"{self.key}={write(self.rounded(value))}"

    def rounded(self, value: float) -> float:
        """Return the nearest number of six digits, inside the range."""
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def at(self, place: float) -> float:
        """Return the number at a part of the range, 0 to 1: of its logarithm, if it is sampled in log space."""
        if self.log:
            return self.rounded(math.exp(math.log(self.low) + place * math.log(self.high / self.low)))
        return self.rounded(self.low + place * (self.high - self.low))

    def ends(self) -> tuple[str, str]:
        """Write the overrides for the first and the last value."""
        return (self.words[0], self.words[-1]) if self.words else (self.word(self.low), self.word(self.high))

    def to_json(self) -> dict[str, Any]:
        """Return the fields, with JSON values."""
        return {**asdict(self), "words": list(self.words)}

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> "Dimension":
        """Return what `to_json` described."""
        fields: dict[str, Any] = {**saved, "words": tuple(saved["words"])}
        return Dimension(**fields)

    def __str__(self) -> str:
        """Describe it in a line."""
        if self.words:
            return f"{self.key}: {', '.join(word.partition('=')[2] for word in self.words)}"
        kind = ", whole numbers" if self.whole else ""
        step = f", in steps of {self.step:g}" if self.step and not (self.whole and self.step == 1) else ""
        return f"{self.key}: {self.low:g} to {self.high:g}{kind}{step}{', in log space' if self.log else ''}"


def read_space(
    found: Mapping[str, tuple[Override, Sequence[Override] | None]], admitted: Mapping[str, str]
) -> tuple[Dimension, ...]:
    """Return what the overrides with several values vary, or raise ConfigError.

    Args:
        found: key -> the override, and its values; None for an override with one value, none for an interval.
        admitted: key -> the values that it may have, in words; of whole numbers an interval has only those.
    """
    varied = [(o, values) for o, values in found.values() if values is not None]
    return tuple(_dimension(o, values, admitted.get(o.key, "")) for o, values in varied)


def size(space: Sequence[Dimension]) -> float:
    """Return the number of combinations; infinite where numbers are continuous."""
    return math.prod(dimension.count for dimension in space)


def _dimension(o: Override, values: Sequence[Override], admitted: str) -> Dimension:
    sampled = read_sampled(o, values)
    scale = _scale(o, sampled)
    if sampled.low is None or sampled.high is None:
        if scale:
            raise ConfigError(
                f"{o.word}: {scale} is for ranges of numbers, and a list has no scale; write "
                f"{o.key}=tag({scale},interval(LOW,HIGH))"
            )
        return Dimension(o.key, words=tuple(dict.fromkeys(value.typed for value in values)))
    return _numeric(o, sampled, scale, whole=sampled.whole or (sampled.step is None and _is_whole(admitted)))


def _scale(o: Override, sampled: Sampled) -> str:
    wrong = next((tag for tag in sampled.tags if tag not in SCALES), None)
    if wrong is not None:
        raise ConfigError(f"{o.word}: {wrong}: no such tag{nearest(wrong, SCALES)} (tags: {', '.join(SCALES)})")
    if len(sampled.tags) > 1:
        raise ConfigError(f"{o.word}: log and linear exclude each other; write only one of them")
    return sampled.tags[0] if sampled.tags else ""


def _numeric(o: Override, sampled: Sampled, scale: str, *, whole: bool) -> Dimension:
    low, high, step = sampled.low or 0, sampled.high or 0, sampled.step
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"{o.word}: both ends must be finite numbers")
    if low >= high:
        order = f"; write interval({high:g},{low:g})" if low > high else f"; write {o.key}={low:g}"
        raise ConfigError(f"{o.word}: the lower end must be below the upper one{order}")
    if whole and step is None and (low != int(low) or high != int(high)):
        raise ConfigError(f"{o.word}: {o.key} is a whole number; both ends must be whole numbers too")
    if scale == "log" and low <= 0:
        raise ConfigError(f"{o.word}: the lower end must be above 0 in log space; it is {low:g}")
    if scale == "log" and step and not (whole and step == 1):
        raise ConfigError(
            f"{o.word}: a range with steps has no log space; write tag(log,interval({low:g},{high:g}))"
        )
    log = scale == "log" or (not scale and step is None and 0 < low and high / low > DECADES)
    return Dimension(o.key, (), low, high, step, log, whole)


def _is_whole(admitted: str) -> bool:
    """Tell whether a description of values names whole numbers, and no others."""
    return "a whole number" in admitted and not re.search(r"\ba (finite )?number\b", admitted)

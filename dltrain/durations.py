"""Durations of training in the config: `100` (steps), `1ep`, `0.5ep`, `2h`, `5min`, `30s`."""

import re
from dataclasses import dataclass
from typing import Any

SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}
FORM = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*(ep|h|min|s)?")


@dataclass(frozen=True)
class Duration:
    """A number of steps (unit `""`), epochs (`ep`), hours, minutes or seconds."""

    value: float
    unit: str

    @classmethod
    def parse(cls, text: Any) -> "Duration":
        """Parse a number of steps or a text such as `1ep`; raises ValueError with the valid forms."""
        match = FORM.fullmatch(str(text).strip())
        value = float(match[1]) if match else 0.0
        unit = (match[2] or "") if match else ""
        if isinstance(text, bool) or not 0 < value < float("inf") or (not unit and not value.is_integer()):
            raise ValueError(
                "must be a number of steps (100), epochs (1ep), or a time (2h, 5min, 30s), more than 0"
            )
        return cls(value, unit)

    def steps(self, per_epoch: int) -> int | None:
        """Return the length in steps, at least 1, or None if it is a time."""
        if self.unit in SECONDS:
            return None
        return max(1, round(self.value * (per_epoch if self.unit == "ep" else 1)))

    @property
    def seconds(self) -> float | None:
        """Return the length in seconds, or None if it is not a time."""
        return self.value * SECONDS[self.unit] if self.unit in SECONDS else None

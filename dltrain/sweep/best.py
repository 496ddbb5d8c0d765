"""The best job of a sweep while it trains."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dltrain.config.constraints import read_constraints, violated
from dltrain.runs.summary import monitored
from dltrain.sweep.groups import SweepJob
from dltrain.training import EndedRun


@dataclass
class Best:
    """The best job so far, whose figures are drawn at the end."""

    value: float | None = None
    draw: Callable[[], None] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def consider(self, job: SweepJob, ended: EndedRun, *, drawn: bool = False) -> bool:
        """Keep the run if it is feasible and better than those before; `drawn` if it has its figures."""
        constraints = job.composed.config["sweep"]["constraints"]
        with self.lock:
            if improved := self._improve(ended.finished.summary, constraints):
                self.draw = (lambda: None) if drawn else ended.finished.draw
        return improved

    def note(self, summary: Mapping[str, Any], constraints: Sequence[str]) -> None:
        """Take note of a run of another process, which draws its figures itself."""
        with self.lock:
            if self._improve(summary, constraints):
                self.draw = lambda: None

    def begin_at(self, value: float | None) -> None:
        """Draw nothing but a run that is better than this value."""
        with self.lock:
            self.value, self.draw = value, lambda: None

    def _improve(self, summary: Mapping[str, Any], constraints: Sequence[str]) -> bool:
        value = monitored(summary)
        if value is None or not math.isfinite(value) or violated(read_constraints(constraints), summary):
            return False
        sign = 1 if summary["higher_is_better"] else -1
        if self.value is not None and sign * value <= sign * self.value:
            return False
        self.value = value
        return True

"""The best job of a sweep while it trains."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dltrain.config.constraints import read_constraints, violated
from dltrain.report.finish import Finished
from dltrain.runs.summary import monitored
from dltrain.sweep.groups import SweepJob


def _nothing() -> None:
    pass


@dataclass
class Best:
    """The best job so far, whose figures are drawn at the end; of equal ones, that of the smallest number."""

    value: float | None = None
    leads: int | None = None  # the number of the job
    _figures: Callable[[], None] = _nothing  # draws them
    _drawn: set[int] = field(default_factory=set)  # numbers of jobs that have their figures
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def consider(self, job: SweepJob, finished: Finished, *, drawn: bool = False) -> bool:
        """Keep the run if it is feasible and better than those before; `drawn` if it has its figures."""
        constraints = job.composed.config["sweep"]["constraints"]
        with self._lock:
            if improved := self._improve(finished.summary, constraints, job.number):
                self.leads, self._figures = job.number, finished.draw
            self._drawn |= {job.number} if drawn else set()
        return improved

    def note(self, summary: Mapping[str, Any], constraints: Sequence[str]) -> None:
        """Take note of a run of another process, which draws its figures itself."""
        with self._lock:
            if self._improve(summary, constraints):
                self.leads, self._figures = None, _nothing

    def begin_at(self, value: float | None) -> None:
        """Draw nothing but a run that is better than this value."""
        with self._lock:
            self.value, self.leads, self._figures = value, None, _nothing

    def draw(self) -> None:
        """Draw the figures of the best job, unless it has them."""
        with self._lock:
            if self.leads in self._drawn or self.leads is None:
                return
            self._drawn.add(self.leads)
            figures, self._figures = self._figures, _nothing
        figures()

    def fork(self) -> "Best":
        """Return the best job so far, to consider jobs that have not ended; neither draws what the other drew."""
        with self._lock:
            return Best(self.value, self.leads, self._figures, self._drawn)

    def _improve(self, summary: Mapping[str, Any], constraints: Sequence[str], number: float = math.inf) -> bool:
        value = monitored(summary)
        if value is None or not math.isfinite(value) or violated(read_constraints(constraints), summary):
            return False
        sign = 1 if summary["higher_is_better"] else -1
        if self.value is not None and sign * value <= sign * self.value:
            return value == self.value and self.leads is not None and number < self.leads
        self.value = value
        return True

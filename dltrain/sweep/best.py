"""The best job of a sweep while it trains."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

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
        summary = ended.finished.summary
        value = monitored(summary)
        constraints = read_constraints(job.composed.config["sweep"]["constraints"])
        if value is None or not math.isfinite(value) or violated(constraints, summary):
            return False
        sign = 1 if summary["higher_is_better"] else -1
        with self.lock:
            if self.value is None or sign * value > sign * self.value:
                self.value, self.draw = value, (lambda: None) if drawn else ended.finished.draw
                return True
        return False

"""What a search keeps of its earlier jobs for later ones, since its jobs come a few at a time."""

from collections.abc import Sequence
from typing import Any

from dltrain.build.folds import Alike
from dltrain.sweep.best import Best
from dltrain.sweep.folds import Group, read_alike
from dltrain.sweep.groups import SweepJob, program_of
from dltrain.sweep.known import Known
from dltrain.sweep.together import Together

KEPT = 4  # programs


class Programs:
    """What was read, built and compiled for earlier jobs of a search."""

    def __init__(self, *, single: bool = False) -> None:
        """Keep nothing yet; `single`: this process will hardly train a second job."""
        self.best = Best()
        self.known = Known()
        self._single = single
        self._trained: dict[str, Together] = {}
        self._alike: dict[str, list[Alike]] = {}

    @property
    def begun(self) -> bool:
        """Whether a job has been trained."""
        return bool(self._trained)

    def read_alike(self, job: SweepJob, folds: Sequence[int]) -> list[Alike]:
        """Return which folds share a program: all folds of the data, since later jobs may have any of them."""
        if self._single:
            return read_alike(job, folds)
        program = program_of(job)
        if program not in self._alike:
            _keep(self._alike, program, read_alike(job, range(job.composed.config["data"]["folds"])))
        return self._alike[program]

    def find(self, group: Group) -> Together | None:
        """Return what was kept of earlier jobs whose program these share, or None."""
        return self._trained.get(group.program)

    def keep(self, group: Group, trained: Together) -> None:
        """Keep what trained jobs, if it is one of the newest: each holds its data and its programs."""
        _keep(self._trained, group.program, trained)


def _keep(kept: dict[str, Any], name: str, value: Any) -> None:
    kept.pop(name, None)
    while len(kept) >= KEPT:
        del kept[next(iter(kept))]
    kept[name] = value

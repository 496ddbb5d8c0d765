"""Jobs of a sweep that can share one compiled program."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.config.call import Composed

NUMBERS = ("learning_rate", "weight_decay")  # of the optimizer, which are leaves of the state
APART = ("seed", "output_dir", "name", "overwrite")  # of the config: no program depends on them


@dataclass(frozen=True)
class SweepJob:
    """One job of a sweep, with its config checked."""

    number: int
    words: tuple[str, ...]  # its overrides
    folder: Path  # where it writes
    label: str  # the overrides in which jobs differ
    composed: Composed
    sweep: Path  # the folder of the sweep
    resumes: bool = False  # from its last checkpoint
    lanes: int | None = None  # of the program that it began in, if it did
    place: int | None = None  # which of them it was
    watch: Callable[[Any], Sequence[Any]] | None = None  # plan -> callbacks besides those of the config
    population: Any = None  # `sweep.population.Population` of which it is a member


def group_jobs(jobs: Sequence[SweepJob]) -> list[list[SweepJob]]:
    """Group jobs whose configs differ in their seeds and hyperparameters only, in the order of their first job."""
    groups: dict[str, list[SweepJob]] = {}
    for job in jobs:
        groups.setdefault(program_of(job), []).append(job)
    return list(groups.values())


def program_of(job: SweepJob) -> str:
    """Return what decides on the compiled program of a job, as a text."""
    config = job.composed.config
    kept = {key: value for key, value in config.items() if key not in APART}
    kept["optim"] = _without_numbers(config["optim"])
    return json.dumps([kept, sorted(job.composed.choices.items()), job.composed.trust], sort_keys=True, default=str)


def _without_numbers(optim: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the hyperparameters, unless parameter groups are scaled by them."""
    if optim.get("groups"):
        return dict(optim)
    return {key: value for key, value in optim.items() if key not in NUMBERS or not _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

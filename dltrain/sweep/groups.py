"""Jobs of a sweep that can share one compiled program."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.build.traced import HPARAMS, varied_numbers
from dltrain.config.call import Composed
from dltrain.config.changes import swept_words

FOLD = "data.fold"
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
    shares: int | None = None  # into which they were divided
    watch: Callable[[Any], Sequence[Any]] | None = None  # plan -> callbacks besides those of the config
    population: Any = None  # `sweep.population.Population` of which it is a member


def group_jobs(jobs: Sequence[SweepJob]) -> list[list[SweepJob]]:
    """Group jobs whose configs differ in seeds, folds and numbers of the state only, in the order of their first.

    The data decides which folds share a program: see `sweep.folds`.
    """
    groups: dict[str, list[SweepJob]] = {}
    for job in jobs:
        groups.setdefault(program_of(job), []).append(job)
    return list(groups.values())


def program_of(job: SweepJob) -> str:
    """Return what decides on the compiled program of a job's lanes, as a text; folds that differ do not."""
    config, varied = job.composed.config, varied_of(job)
    kept = {key: value for key, value in config.items() if key not in APART}
    for key in (*varied, *((FOLD,) if varies_fold(job) else ())):
        _mark(kept, key.split("."))
    kept["optim"] = _without_numbers(kept["optim"])
    return json.dumps([kept, sorted(job.composed.choices.items()), job.composed.trust], sort_keys=True, default=str)


def varied_of(job: SweepJob) -> tuple[str, ...]:
    """Return the keys in which the jobs of a sweep differ and whose numbers are leaves of the state in lanes.

    They follow from the overrides of the job alone, so that a resumed sweep has the same programs.
    """
    return tuple(varied_numbers(job.composed.config, _swept(job), job.composed.trust))


def varies_fold(job: SweepJob) -> bool:
    """Tell whether the jobs of a sweep differ in their fold."""
    return bool(job.composed.config["data"]["folds"]) and FOLD in _swept(job)


def _swept(job: SweepJob) -> set[str]:
    return {word.partition("=")[0].lstrip("+") for word in swept_words(job.words, job.label)}


def _mark(config: dict[str, Any], names: Sequence[str]) -> None:
    """Replace a value by what stands for any number, in copies of the mappings that hold it."""
    name, *rest = names
    config[name] = dict(config[name]) if rest else "a number of the state"
    if rest:
        _mark(config[name], rest)


def _without_numbers(optim: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the hyperparameters, unless parameter groups are scaled by them."""
    if optim.get("groups"):
        return dict(optim)
    return {key: value for key, value in optim.items() if key not in HPARAMS or not _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

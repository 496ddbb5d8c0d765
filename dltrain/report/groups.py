"""Runs in groups that differ only in their seed, and the folders that they are read from."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.config.changes import differing, leaves
from dltrain.errors import ConfigError
from dltrain.inference.record import Record
from dltrain.report.facts import interval_of
from dltrain.report.seeds import Spread, spread

NOT_COMPARED = ("seed", "name", "tags", "output_dir", "overwrite", "quiet", "dry_run", "trust", "sweep", "profile")
"""Keys in which the runs of a group may differ, and those in them (`sweep.objectives`)."""


@dataclass(frozen=True)
class Group:
    """Runs whose configs differ at most in NOT_COMPARED."""

    name: str  # a letter
    records: tuple[Record, ...]
    labels: tuple[str, ...]  # the names of the runs

    @property
    def runs(self) -> str:
        """The names of its runs, in one line."""
        return ", ".join(self.labels)

    def values(self, split: str, metric: str) -> list[float]:
        """Return a metric of the best state of each run that has it; of runs with equal seeds, the first counts."""
        found: dict[Any, float] = {}
        for record in self.records:
            if (value := record.best(split).get(metric)) is not None:
                found.setdefault(record.config.get("seed"), float(value))
        return list(found.values())

    @property
    def repeated(self) -> list[str]:
        """The names of finished runs whose seed another one before them has: they say nothing about other seeds."""
        seeds, names = set(), []
        for record, label in zip(self.records, self.labels, strict=True):
            seed = record.config.get("seed")
            names += [label] if record.finished and seed in seeds else []
            seeds |= {seed} if record.finished else set()
        return names

    def spread(self, split: str, metric: str) -> Spread | None:
        """Return the spread of a metric over the runs; None if no run has it."""
        values = self.values(split, metric)
        return spread(values) if values else None

    def interval(self, split: str, metric: str) -> tuple[float, float] | None:
        """Return the interval over seeds; of a single run, that over its examples, if it was evaluated."""
        if len(self.records) == 1:
            return interval_of(self.records[0], split, metric)
        found = self.spread(split, metric)
        return found.interval if found else None


def grouped(
    records: Sequence[Record], labels: Sequence[str], *, alike: Callable[[Record], Any]
) -> tuple[Group, ...]:
    """Put runs together that differ only in NOT_COMPARED and have the same `alike`, in the order they come."""
    members: list[list[int]] = []
    settings = [(alike(record), settings_of(record.config)) for record in records]
    for i, (what, mine) in enumerate(settings):
        home = next(
            (g for g in members if settings[g[0]][0] == what and not differing(settings[g[0]][1], mine)), None
        )
        members.append([i]) if home is None else home.append(i)
    return tuple(
        Group(_letter(n), tuple(records[i] for i in group), tuple(labels[i] for i in group))
        for n, group in enumerate(members)
    )


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys in which the runs of a group must agree, with their values as JSON."""
    return {key: value for key, value in leaves(config).items() if key.split(".")[0] not in NOT_COMPARED}


def expand(path: Path, notes: list[str]) -> list[Path]:
    """Return a run folder, or the jobs of a sweep's folder in their order; jobs that never started are noted."""
    path = path.expanduser()
    if (path / "config.yaml").exists() or not path.is_dir():
        return [path]
    inside = sorted((p for p in path.iterdir() if p.is_dir()), key=lambda p: (len(p.name), p.name))
    jobs = [p for p in inside if (p / "config.yaml").is_file()]
    failed = [p.name for p in inside if (p / "failure.txt").is_file() and p not in jobs]
    if failed:
        notes.append(f"{path}: {', '.join(failed)} failed before training, see failure.txt there.")
    if not jobs:
        raise ConfigError(f"{path}: not a run folder (config.yaml is missing), nor the folder of a sweep")
    return jobs


def names_of(paths: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with as many folders above as it takes to tell them apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def more_seeds(group: Group) -> str:
    """Return a command that trains more seeds of a group; "" if it is not known how it was started."""
    record = group.records[0]
    words = record.started.get("overrides", ())
    kept = [w for w in words if w.partition("=")[0] not in ("seed", "output_dir", "overwrite")]
    used = {record.config.get("seed") for record in group.records}
    seeds = [str(seed) for seed in range(len(used) + 5) if seed not in used][:4]
    return shlex.join(["dltrain", "-m", *kept, f"seed={','.join(seeds)}"]) if words else ""


def _letter(number: int) -> str:
    """Return A, B, ..., Z, AA, AB, ..."""
    letters = ""
    while number >= 0:
        number, rest = divmod(number, 26)
        letters, number = chr(ord("A") + rest) + letters, number - 1
    return letters

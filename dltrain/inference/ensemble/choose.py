"""The runs of an ensemble: the best by the metric that they monitored, or the folds of one cross-validation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.errors import ConfigError, DltrainError
from dltrain.inference.card import number
from dltrain.inference.record import Record, read_record
from dltrain.runs.folder import existing


@dataclass(frozen=True)
class Chosen:
    """The runs that were chosen, the best first.

    Attributes:
        records: what their folders say.
        monitor: the split and metric by which they were chosen, as `validation/accuracy`; "" if none was monitored.
        higher_is_better: whether more of it is better.
        among: the number of runs with a result that they were chosen from.
        folds: K if they are the K folds of one cross-validation, in their order; else 0.
        notes: what was left out, and why.
    """

    records: tuple[Record, ...]
    monitor: str
    higher_is_better: bool
    among: int
    folds: int
    notes: tuple[str, ...]


def choose(paths: Sequence[Path], *, top: int) -> Chosen:
    """Choose the best `top` runs by the metric that they monitored; of the folds of one cross-validation, all.

    Args:
        paths: run folders; those without a result are left out.
        top: the most runs to take.

    Raises:
        ConfigError: no run has a result, or they monitored different metrics.
    """
    notes: list[str] = []
    records = _finished(list(dict.fromkeys(path.expanduser().resolve() for path in paths)), notes)
    monitors = list(dict.fromkeys((_monitor(r), r.higher_is_better) for r in records))
    if len(monitors) > 1:
        names = ", ".join(name or "nothing" for name, _ in monitors)
        raise ConfigError(
            f"ensemble: the runs monitored different metrics ({names}), so the best cannot be chosen; name runs "
            "that monitored the same"
        )
    monitor, higher = monitors[0]
    if folds := folds_of(records):
        if folds > top:
            notes.append(
                f"the runs are the {folds} folds of one cross-validation: all are taken, not the best {top}."
            )
        ordered = sorted(records, key=lambda record: int(record.config["data"]["fold"]))
        return Chosen(tuple(ordered), monitor, higher, folds, folds, tuple(notes))
    if not monitor:
        if len(records) > top:
            raise ConfigError(
                f"ensemble: {records[0].path} monitored nothing, so the best cannot be chosen; name at most "
                f"{top} runs, or set top={len(records)}"
            )
        return Chosen(tuple(records), "", False, len(records), 0, tuple(notes))
    records = _with_value(records, monitor, notes)
    if len(records) > top and len({_split_hash(record, "validation") for record in records}) > 1:
        notes.append(f"the runs have different validation examples, so their order by {monitor} is partly chance.")
    sign = -1 if higher else 1
    ordered = sorted(records, key=lambda record: sign * (value_of(record) or 0.0))
    return Chosen(tuple(ordered[:top]), monitor, higher, len(records), 0, tuple(notes))


def value_of(record: Record) -> float | None:
    """Return the monitored metric of a run's best state; None if there is none."""
    split, _, name = _monitor(record).partition("/")
    value = record.best(split).get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def folds_of(records: Sequence[Record]) -> int:
    """Return K if the runs are the K folds of the same examples, each of them once; else 0."""
    keys = [record.config["data"] for record in records]
    count = keys[0].get("folds")
    if not isinstance(count, int) or sorted(str(own.get("fold")) for own in keys) != sorted(map(str, range(count))):
        return 0
    alike = {
        (own.get("folds"), own.get("split_seed"), r.data.get("fingerprint"), _split_hash(r, "test"))
        for own, r in zip(keys, records, strict=True)
    }
    return count if len(alike) == 1 else 0


def shares(records: Sequence[Record], split: str) -> bool:
    """Tell whether a split of all runs has the same examples."""
    hashes = {_split_hash(record, split) for record in records}
    return len(hashes) == 1 and None not in hashes


def _finished(paths: Sequence[Path], notes: list[str]) -> list[Record]:
    """Read the runs that have a result; note the others."""
    found = []
    for path in paths:
        try:
            record = read_record(existing(str(path)))
        except DltrainError as error:
            notes.append(f"left out: {error}")
            continue
        if record.finished:
            found.append(record)
        else:
            notes.append(f"left out: {path} has not finished, so it has no result.")
    if not found:
        more = f": {'; '.join(notes)}" if notes else ""
        raise ConfigError(f"ensemble: none of {len(paths)} runs has a result{more}")
    return found


def _with_value(records: Sequence[Record], monitor: str, notes: list[str]) -> list[Record]:
    """Return the runs that have a finite value of the monitored metric; note the others."""
    found = [record for record in records if value_of(record) is not None]
    for record in records:
        if record not in found:
            value: Any = record.best(monitor.partition("/")[0]).get(monitor.partition("/")[2])
            notes.append(f"left out: {record.path} has no finite {monitor} ({number(value)}).")
    if not found:
        raise ConfigError(f"ensemble: no run has a finite {monitor}")
    return found


def _monitor(record: Record) -> str:
    return record.summary.get("monitor") or ""


def _split_hash(record: Record, split: str) -> Any:
    return record.data.get("splits", {}).get(split)

"""Facts about a run in words: its limitations, how to run it again, and what `dltrain evaluate` found."""

import math
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dltrain.inference.card import number
from dltrain.inference.record import Record

SMALL = 1000  # examples of a test set below which its size is a limitation
UNEVEN = 3  # times the examples of the rarest class
PLACES = ("output_dir", "overwrite", "quiet")  # keys that do not change a run
FEW = 8  # steps that are listed


@dataclass(frozen=True)
class Measured:
    """A metric on a split, with an interval [low, high] if one is known."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """The value, and its interval in brackets."""
        if self.interval is None:
            return number(self.value)
        return f"{number(self.value)} [{number(self.interval[0])}, {number(self.interval[1])}]"


def limitations(record: Record) -> list[str]:
    """Say what a reader of the results should know, from facts in the run folder."""
    return [*_of_results(record), *_of_data(record), *_of_training(record)]


def evaluated_split(record: Record) -> str | None:
    """Return the split whose results count: test, or validation if there is no test split."""
    return next((split for split in ("test", "validation") if record.best(split)), None)


def better_baselines(record: Record) -> list[str]:
    """Say which baselines are at least as good as the best state, by the monitored metric or else the first."""
    found = []
    for split, baselines in record.summary.get("baselines", {}).items():
        mine = record.best(split)
        for name, metrics in baselines.items():
            metric = record.monitor[1]
            one, other = metrics.get(metric), mine.get(metric)
            if one is None or other is None:
                continue
            if (one >= other) if record.higher_is_better else (one <= other):
                found.append(
                    f"{name} is at least as good on {split}: {metric} {number(one)}, model {number(other)}"
                )
    return found


def wilson(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % interval of a share of `count` examples (Wilson, 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def commands(record: Record) -> list[str]:
    """Return the commands that train the run again: dltrain train, and each resume."""
    words = [w for w in record.started.get("overrides", ()) if w.partition("=")[0].lstrip("+~") not in PLACES]
    seed = record.environment.get("seed")
    if isinstance(seed, int) and not any(word.startswith("seed=") for word in words):
        words.append(f"seed={seed}")
    lines = [shlex.join(["dltrain", "train", *words])] if record.started else []
    for resumed in record.started.get("resumed", ()):
        typed = [str(word) for word in resumed.get("overrides", ())] if isinstance(resumed, Mapping) else []
        lines.append(shlex.join(["dltrain", "resume", "RUN", *typed]))
    return lines


def requirements(record: Record) -> list[str]:
    """Return the versions of the libraries as lines of a requirements file; Python itself is not one."""
    versions = record.environment.get("versions", {})
    return [f"{name}=={version}" for name, version in versions.items() if name != "python"]


def measured(found: Any) -> list[Measured]:
    """Read metrics of an evaluation: name -> {value, low, high}, or name -> number; others are left out."""
    if not isinstance(found, Mapping):
        return []
    return [one for name, value in found.items() if (one := _measured(str(name), value))]


def overall(evaluation: Mapping[str, Any]) -> list[Measured]:
    """Return the metrics over all examples of a split, from what `dltrain evaluate` wrote."""
    return [*measured(evaluation.get("metrics")), *measured(evaluation.get("further_metrics"))]


def of_parts(evaluation: Mapping[str, Any]) -> dict[str, list[Measured]]:
    """Return the metrics of each class or target: name -> metrics."""
    parts = evaluation.get("parts")
    rows = [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    return {
        str(row.get("name")): measured({k: v for k, v in row.items() if isinstance(v, Mapping)}) for row in rows
    }


def interval_of(record: Record, split: str, metric: str) -> tuple[float, float] | None:
    """Return the interval of a metric of the best state over the examples of a split, if one was evaluated."""
    for evaluation in record.evaluations.values():
        if evaluation.get("split") == split and evaluation.get("step") == record.summary.get("best_step"):
            return next((one.interval for one in overall(evaluation) if one.name == metric and one.interval), None)
    return None


def _measured(name: str, value: Any) -> Measured | None:
    interval = None
    if isinstance(value, Mapping):
        low, high, value = value.get("low"), value.get("high"), value.get("value")
        if _is_number(low) and _is_number(high):
            interval = (float(low), float(high))
    return Measured(name, float(value), interval) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_results(record: Record) -> Iterator[str]:
    split, examples = evaluated_split(record), record.data.get("examples", {})
    if not record.finished:
        yield "The run has not finished; no final results exist."
        return
    if split != "test":
        yield "There is no test split: validation chose the best state, so its results are optimistic."
    count = examples.get(split, 0) if split else 0
    if split and 0 < count < SMALL:
        yield f"The {split} split has only {count:,} examples, so its metrics are uncertain."
    accuracy = record.best(split).get("accuracy") if split else None
    known = split is not None and interval_of(record, split, "accuracy")
    if accuracy is not None and count and 0 <= accuracy <= 1 and _one_class_each(record) and not known:
        low, high = wilson(accuracy, count)
        yield f"The accuracy of {accuracy:.4f} has a 95 % interval of {low:.4f} to {high:.4f} (Wilson)."
    yield from (f"The baseline {line}." for line in better_baselines(record))
    yield "This is one run with one seed, and other seeds give other results: compare several with dltrain compare."


def _of_data(record: Record) -> Iterator[str]:
    classes, counts = class_counts(record)
    train = counts.get("train", [])
    if classes and len(train) == len(classes) and max(train) >= UNEVEN * max(1, min(train)):
        least, most = train.index(min(train)), train.index(max(train))
        yield (
            f"Classes are imbalanced: {train[least]:,} training examples of {classes[least]}, "
            f"{train[most]:,} of {classes[most]}."
        )
    if os.path.lexists(record.path / "bad_rows.csv"):
        yield "Rows of the data could not be read and were left out; bad_rows.csv in the run folder lists them."


def _of_training(record: Record) -> Iterator[str]:
    for name, what in (("skipped", "not finite and skipped"), ("left_out", "left out after a step back")):
        if steps := record.summary.get(name):
            few = ", ".join(f"{step}" for step in steps[:FEW]) + ", ..." * (len(steps) > FEW)
            yield f"{len(steps)} training steps were {what}: {few}."
    for problem in record.environment.get("problems", ()):
        yield f"Problem of the machine: {problem}"


def class_counts(record: Record) -> tuple[list[str], dict[str, list[int]]]:
    """Return the names of the classes, and the number of examples of each by split; empty without classes."""
    spec = record.model.get("spec", {})
    targets = list(spec.get("targets", {}).values())
    names = [str(name) for name in targets[0].get("vocabulary", ())] if len(targets) == 1 else []
    return names, {split: list(of) for split, of in (spec.get("counts") or {}).items() if of}


def _one_class_each(record: Record) -> bool:
    """Tell whether an accuracy is a share of examples: not of steps or pixels."""
    return bool(class_counts(record)[1])

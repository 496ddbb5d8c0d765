"""The keys in which the jobs of a sweep differ, with the value of each job."""

import re
from collections.abc import Mapping, Sequence

from dltrain.report.sweeps.jobs import Job

Value = float | str | None
"""A number, another value as text, or None for a job in which the key was not set."""

NOT_VARIED = ("seed", "data.fold", "output_dir", "overwrite", "name", "quiet")
"""Keys that repeat a config, or say where a job writes."""

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def varied(jobs: Sequence[Job]) -> dict[str, list[Value]]:
    """Return each key that has two values or more over these jobs -> its value in each job, in the order typed."""
    read = [_values(job) for job in jobs]
    keys = dict.fromkeys(key for values in read for key in values)
    found = {key: [values.get(key) for values in read] for key in keys if key not in NOT_VARIED}
    return {key: _alike(values) for key, values in found.items() if len(set(values)) > 1}


def is_numeric(values: Sequence[Value]) -> bool:
    """Tell whether all values that are set are numbers."""
    return all(value is None or isinstance(value, float) for value in values)


def _values(job: Job) -> Mapping[str, Value]:
    """Read the overrides of a job: key -> value; a removed key has the value `removed`."""
    found: dict[str, Value] = {}
    for word in job.overrides:
        key, equals, text = word.lstrip("+~").partition("=")
        found[key.partition("@")[0]] = "removed" if word.startswith("~") and not equals else _value(text)
    return found


def _value(text: str) -> Value:
    return float(text) if NUMBER.fullmatch(text) else text.strip("'\"")


def _alike(values: list[Value]) -> list[Value]:
    """Return numbers, or if one value is text all as texts."""
    if is_numeric(values):
        return values
    return [f"{value:g}" if isinstance(value, float) else value for value in values]

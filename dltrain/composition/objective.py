"""What a job returns to its sweeper (the monitored metric or `sweep.objectives`), and which direction is better."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.config.constraints import number_of, read_constraints
from dltrain.config.hints import nearest, show
from dltrain.errors import ConfigError


def directions(config: Mapping[str, Any]) -> list[str]:
    """Return minimize or maximize for each objective of a training config, or raise ConfigError."""
    wanted = config["sweep"]["objectives"] or [config["monitor"]]
    return [_direction(str(name), config) for name in wanted]


def check_constraints(config: Mapping[str, Any]) -> None:
    """Raise ConfigError unless `sweep.constraints` are numbers that runs of this config have."""
    for constraint in read_constraints(config["sweep"]["constraints"]):
        split, slash, metric = constraint.name.partition("/")
        names = ["loss", *(n for n, node in config["metrics"].items() if isinstance(node, Mapping))]
        if slash and metric not in names:
            known = [f"{split}/{name}" for name in names]
            raise ConfigError(
                f"sweep.constraints: {constraint}: {constraint.name} is not computed"
                f"{nearest(constraint.name, known)} ({', '.join(known)})"
            )


def _direction(name: str, config: Mapping[str, Any]) -> str:
    better = {n: node.get("better") for n, node in config["metrics"].items() if isinstance(node, Mapping)}
    if name in ("None", "auto"):
        first = config["task"]["monitor"] or ()
        name = f"validation/{next((n for n in first if n in better), 'loss')}"
    if "/" not in name:
        return "minimize"  # parameters, seconds, steps, peak_memory
    metric = name.split("/")[1]
    if metric == "loss":
        return "minimize"
    if metric not in better:
        known = ["validation/loss", *(f"validation/{n}" for n in better)]
        raise ConfigError(f"sweep.objectives: {name}: is not computed{nearest(name, known)} ({', '.join(known)})")
    if not better[metric]:
        raise ConfigError(f"sweep.objectives: {name}: set metrics.{metric}.better=higher, or lower")
    return "maximize" if better[metric] == "higher" else "minimize"


def values(summary: Mapping[str, Any], wanted: Sequence[str]) -> float | list[float]:
    """Read the objectives from a run's summary, those of metrics at its best step; NaN for missing ones."""
    if wanted:
        return [_value(summary, name) for name in wanted] if len(wanted) > 1 else _value(summary, wanted[0])
    return _value(summary, summary.get("monitor") or "")


class Failed(float):
    """The NaN of a job that failed. Converting it to a float raises, after which sweepers go on with other values.

    hydra-optuna-sweeper 1.3.0 treats the failed conversion as a failed trial; a plain NaN it reports to Optuna
    twice, which ends the sweep.
    """

    def __new__(cls) -> "Failed":
        """Create a NaN."""
        return super().__new__(cls, math.nan)

    def __float__(self) -> float:
        """Refuse."""
        raise ValueError("the job failed")

    def __reduce__(self) -> tuple[type["Failed"], tuple[()]]:
        """Support pickling, which launchers use between processes."""
        return Failed, ()


def failed(wanted: Sequence[str]) -> float | list[float]:
    """Return the objectives of a job that failed: NaN, which a sweeper skips."""
    return [Failed() for _ in wanted] if len(wanted) > 1 else Failed()


def _value(summary: Mapping[str, Any], name: str) -> float:
    found = number_of(summary, name)
    return math.nan if found is None else found


def check_count(typed: Any, wanted: Sequence[str]) -> None:
    """Raise ConfigError unless the sweeper's direction has one entry for each objective."""
    count = len(typed) if isinstance(typed, list | tuple) else 1
    if count != max(1, len(wanted)):
        raise ConfigError(
            f"hydra.sweeper.direction={show(typed)}: {count} given, and a job returns {max(1, len(wanted))} "
            "(sweep.objectives)"
        )

"""Config -> Plan: length of training, intervals, and the monitored metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dltrain.build.defined import undefined_metrics
from dltrain.build.parts import Parts
from dltrain.config.hints import nearest
from dltrain.config.kinds import MOST
from dltrain.durations import Duration
from dltrain.errors import ConfigError


@dataclass(frozen=True)
class Monitor:
    """The metric that determines the best state."""

    split: str
    name: str
    higher_is_better: bool

    def __str__(self) -> str:
        """Return it as in the config."""
        return f"{self.split}/{self.name}"


@dataclass(frozen=True)
class Stop:
    """Bounds that end training before its last step; None: no bound."""

    loss: float | None = None
    gradient_norm: float | None = None
    change: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """Plain values that control a run."""

    seed: int
    total: int  # steps
    eval_batch_size: int
    log_every: int
    eval_every: Duration
    save_every: tuple[Duration, ...]
    auto_checkpoint: bool  # whether the intervals were chosen automatically
    splits: tuple[str, ...]  # evaluated while training
    monitor: Monitor | None
    patience: int | None
    min_delta: float
    stretch: bool
    skip_nonfinite: bool
    overfit: bool
    profile: bool
    intervals: tuple[int, ...] = ()  # intervals that are counted in steps, such as between evaluations
    read_threads: int = 2  # that prefetch a streamed data set
    read_timeout: float = 60.0  # seconds to wait for one of its batches
    rollback: bool = False
    keep_every: int | None = None  # checkpoints at multiples of it are kept
    precision: str = "float32"
    mesh: str | Mapping[str, int] = "auto"  # how a batch is laid out over devices
    rules: tuple[Mapping[str, Any], ...] = ()  # which axis of which parameter is divided over the mesh axis `model`
    stop: Stop = Stop()
    ema: float | None = None  # decay of the EMA of the weights
    warmup: int = 0  # updates in which the schedule's factor grows to its full size
    warnings: tuple[str, ...] = ()  # to be shown before training


def make_plan(config: Mapping[str, Any], parts: Parts) -> Plan:
    """Turn durations into steps and check what is monitored."""
    per_epoch = parts.pipeline.steps_per_epoch
    total = _total(config, parts)
    if total > MOST:
        raise ConfigError(f"{_length(config)}: comes to {total:,} updates, more than {MOST:,}")
    overfit = bool(config["overfit_batches"])
    splits = ("train",) if overfit else ("validation",) if len(parts.splits.validation) else ()
    monitor, warnings = _monitor("auto" if overfit else config["monitor"], parts, splits, config["task"]["monitor"])
    if monitor and monitor.split not in splits:
        splits = (*splits, monitor.split)
    _check_objectives(config["sweep"]["objectives"], parts.metrics)
    stopping = config["early_stopping"]
    if stopping["patience"] and monitor is None:
        raise ConfigError("early_stopping.patience: needs validation examples; set data.validation=0.1")
    if parts.plateau is not None and monitor is None:
        raise ConfigError(
            "schedule: needs validation examples, since it follows their metric; set data.validation=0.1"
        )
    batch = max(parts.pipeline.batch_size, 256)
    largest = max([len(parts.splits[s]) for s in ("validation", "test")] + [1])
    if config["data"]["folds"]:
        largest = batch  # whatever the fold, which differ by an example, so that they share a program
    evaluate = _duration(config, "eval_every")
    auto = config["checkpoint_every"] == "auto"
    save = (Duration(1, "ep"), Duration(5, "min")) if auto else (_duration(config, "checkpoint_every"),)
    kept = _kept(config, per_epoch)
    return Plan(
        seed=config["seed"],
        total=total,
        eval_batch_size=config["eval_batch_size"] or min(batch, largest),
        log_every=min(config["log_every"], total),  # a short run is logged at least once
        eval_every=evaluate,
        save_every=save,
        auto_checkpoint=auto,
        splits=splits,
        monitor=monitor,
        patience=stopping["patience"],
        min_delta=stopping["min_delta"],
        stretch=config["schedule"]["stretch"],
        skip_nonfinite=config["on_nonfinite"] == "skip",
        overfit=overfit,
        profile=config["profile"],
        intervals=tuple(n for n in (*(every.steps(per_epoch) for every in (evaluate, *save)), kept) if n),
        read_threads=config["data"]["threads"],
        read_timeout=config["data"]["timeout"],
        rollback=config["on_nonfinite"] == "rollback",
        keep_every=kept,
        precision=config["runtime"]["precision"],
        mesh=config["runtime"]["mesh"],
        rules=tuple(config["runtime"]["rules"]),
        stop=_stop(**config["stop"]),
        ema=config["optim"]["ema"],
        warmup=_warmup(config["schedule"], per_epoch),
        warnings=warnings,
    )


def _stop(*, time: Any, **bounds: float | None) -> Stop:
    return Stop(**bounds, seconds=None if time is None else Duration.parse(time).seconds)


def _total(config: Mapping[str, Any], parts: Parts) -> int:
    """Return the number of steps that `epochs`, `steps` or `examples` give."""
    pipeline = parts.pipeline
    if config["examples"]:
        batches = pipeline.steps_per_epoch
        epochs, left = divmod(config["examples"], min(len(pipeline.examples), batches * pipeline.batch_size))
        return max(1, epochs * batches + -(-left // pipeline.batch_size))
    least = config["min_steps"] or 1
    return config["steps"] or max(least, round(config["epochs"] * pipeline.steps_per_epoch))


def _length(config: Mapping[str, Any]) -> str:
    """Return the key that says how long to train, with its value."""
    return next(f"{key}={config[key]}" for key in ("examples", "steps", "epochs") if config[key])


def _warmup(schedule: Mapping[str, Any], per_epoch: int) -> int:
    """Return the length of the warm-up in updates, 0 for a schedule of a user's without one."""
    epochs, steps = schedule["warmup_epochs"], schedule.get("warmup_steps")
    return round(epochs * per_epoch) if epochs is not None else steps if isinstance(steps, int) else 0


def _check_objectives(objectives: Sequence[str], metrics: Mapping[str, Any]) -> None:
    """Raise ConfigError for an objective of a sweep that is a matrix, or a number for each class."""
    for wanted in objectives:
        split, slash, name = wanted.partition("/")
        if slash and name in metrics and (numbers := _numbers(name, metrics)) != [name]:
            instead = f"; choose one of {', '.join(f'{split}/{n}' for n in numbers)}" if numbers else ""
            raise ConfigError(f"sweep.objectives: {wanted}: is not a single number{instead}")


def _kept(config: Mapping[str, Any], per_epoch: int) -> int | None:
    if config["keep_every"] is None:
        return None
    return _duration(config, "keep_every").steps(per_epoch)


def _duration(config: Mapping[str, Any], key: str) -> Duration:
    try:
        return Duration.parse(config[key])
    except ValueError as error:
        raise ConfigError(f"{key}={config[key]}: {error}") from error


def _monitor(
    wanted: str | None, parts: Parts, splits: tuple[str, ...], first: Sequence[str] | None
) -> tuple[Monitor | None, tuple[str, ...]]:
    """Return the monitored metric, and warnings: a metric that is NaN on the split is replaced by the loss.

    `first` are the task's choices for `auto`, None: nothing is monitored.
    """
    if wanted == "auto":
        if not splits or first is None:
            return None, ()
        name = next((n for n in first if n in parts.metrics and _numbers(n, parts.metrics) == [n]), "loss")
        return _defined(Monitor(splits[0], name, parts.better.get(name) == "higher"), parts)
    if wanted is None:
        return None, ()
    split, _, name = wanted.partition("/")
    metric = name.partition("/")[0]
    names_of = {n: _numbers(n, parts.metrics) if n == metric else [n] for n in ("loss", *parts.metrics)}
    known = [f"{s}/{n}" for s in ("validation", "train") for names in names_of.values() for n in names]
    if wanted not in known:
        computed = split in ("validation", "train") and name in parts.metrics
        why = "is not a single number" if computed else f"is not computed{nearest(wanted, known)}"
        raise ConfigError(f"monitor={wanted}: {why} (known: {', '.join(known)})")
    if not len(parts.splits[split]):
        raise ConfigError(f"monitor={wanted}: there are no {split} examples; set data.{split}=0.1")
    if metric not in parts.better:
        raise ConfigError(f"monitor={wanted}: set metrics.{metric}.better=higher, or lower")
    return _defined(Monitor(split, name, parts.better[metric] == "higher"), parts)


def _defined(monitor: Monitor, parts: Parts) -> tuple[Monitor, tuple[str, ...]]:
    """Return the monitor, or the loss with a warning if the metric cannot be computed on its split."""
    if not (reason := undefined_metrics(parts, monitor.split).get(monitor.name)):
        return monitor, ()
    split = monitor.split
    return Monitor(split, "loss", False), (
        f"warning: {monitor} is NaN, whatever the model predicts: {reason}; the best state, early stopping "
        f"and schedule=plateau follow {split}/loss instead",
    )


def _numbers(name: str, metrics: Mapping[str, Any]) -> list[str]:
    """Return the name, or NAME/CLASS for each class if the metric has a value per class; nothing for a matrix."""
    value = metrics[name].value(jax.device_get(metrics[name].zero())) if name in metrics else None
    if isinstance(value, Mapping):
        return [f"{name}/{part}" for part in value]
    return [] if isinstance(value, np.ndarray) else [name]

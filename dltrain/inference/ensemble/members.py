"""The members of an ensemble, opened: whether they take the same examples and predict the same thing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.config.call import Composed
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.inference.bundle import Bundle
from dltrain.inference.ensemble.combine import check_averaged
from dltrain.inference.run import Run
from dltrain.runs.folder import RunFolder
from dltrain.runs.restore import Warn
from dltrain.types import Feature, Kind, Spec

Amend = Callable[[RunFolder], Composed]
"""A run folder -> its checked config, with the changes of this call."""

FITTED = (Kind.TOKENS, Kind.NGRAMS, Kind.CATEGORIES)
"""Inputs whose length or width follows from the training examples: each member has its own."""


def open_members(
    folders: Sequence[RunFolder], amend: Amend, *, checkpoints: Sequence[str | int], warn: Warn
) -> list[Run]:
    """Open runs, each at its checkpoint, and check that they can be averaged; jax is ready then.

    Raises:
        ConfigError: a config cannot be used, or the runs differ in task, inputs or targets.
        CheckpointError: a file of a run is missing or damaged.
    """
    runs = []
    for folder, checkpoint in zip(folders, checkpoints, strict=True):
        composed = amend(folder)
        if not runs:
            runtime.start(**composed.config["runtime"])
        runs.append(Run(folder, composed, checkpoint=checkpoint, warn=warn))
    check_alike(runs)
    return runs


def check_alike(runs: Sequence[Run]) -> None:
    """Raise ConfigError unless runs have the same inputs and targets, and predictions that can be averaged."""
    runs[0].bundle.check_predicts("ensemble")
    check_averaged(runs[0].spec.task)
    first = _Described.of(runs[0].bundle)
    for run in runs[1:]:
        if problem := first.difference(_Described.of(run.bundle)):
            raise ConfigError(
                f"ensemble: {run.path} cannot be averaged with {runs[0].path}: {problem}; name runs on the same "
                "data with the same task"
            )


@dataclass(frozen=True)
class _Described:
    """What the members of an ensemble must agree in."""

    task: Any
    columns: frozenset[str]  # of a table, which each member encodes by what it was fitted to
    inputs: dict[str, tuple[Any, ...]]
    targets: dict[str, tuple[Any, ...]]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, bundle: Bundle) -> "_Described":
        spec: Spec = bundle.raw_spec
        columns = frozenset(getattr(bundle.encoder, "columns", ()) or ())
        inputs = {} if columns else {name: _input(feature) for name, feature in spec.inputs.items()}
        targets = {name: (str(f.kind), f.shape, f.names) for name, f in spec.targets.items()}
        return cls(spec.task, columns, inputs, targets, spec.classes or spec.labels)

    def difference(self, other: "_Described") -> str:
        """Say in what the other differs; "" if in nothing."""
        if self.task != other.task:
            return f"it has {_task(other.task)}, and not {_task(self.task)}"
        if self.classes != other.classes:
            return f"its classes are {_few(other.classes)}, and not {_few(self.classes)}"
        if self.columns != other.columns and self.columns and other.columns:
            lost, more = sorted(self.columns - other.columns), sorted(other.columns - self.columns)
            said = [f"without {', '.join(lost)}"] * bool(lost) + [f"also with {', '.join(more)}"] * bool(more)
            return f"its inputs are other columns ({'; '.join(said)})"
        for what, mine, theirs in (("targets", self.targets, other.targets), ("inputs", self.inputs, other.inputs)):
            if mine != theirs:
                name = next(name for name in (*mine, *theirs) if mine.get(name) != theirs.get(name))
                return f"its {what} differ: {name} is {_shown(theirs.get(name))}, and not {_shown(mine.get(name))}"
        return ""


def _task(task: Any) -> str:
    return f"task={task}" + (f" of the quantiles {list(task.quantiles)}" if task.quantiles else "")


def _input(feature: Feature) -> tuple[Any, ...]:
    if feature.kind in FITTED:
        return (str(feature.kind), (), feature.names)
    return (str(feature.kind), feature.shape, feature.names)


def _shown(found: tuple[Any, ...] | None) -> str:
    if found is None:
        return "not there"
    kind, shape, names = found
    return f"{kind} {list(shape)}" + (f" ({_few(names)})" if names else "")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)

"""What the runs of one program differ in, besides their seed and the hyperparameters of each state.

A run has values of its own: what was fitted on its fold (`build/folds.py`), numbers of its config
(`build/varied.py`). They come with the batches of a chunk, or they are leaves of its state. Inside a trace the
parts of the program are made again with them. Differences combine; without any, all of this is constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from dltrain.build.model import make_objective_on
from dltrain.build.parts import Parts, with_constants
from dltrain.build.step import StepParts
from dltrain.build.traced import is_evaluated
from dltrain.types import Array

Config = Mapping[str, Any]
Values = Mapping[str, Any]
"""Values of a run by their names, as arrays, which may be traced."""


class Difference(Protocol):
    """One thing in which the runs of a program differ."""

    @property
    def config(self) -> Config:
        """The config of one of the runs."""
        ...

    @property
    def trust(self) -> tuple[str, ...]:
        """The user's packages."""
        ...

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of those values that are leaves of the state."""
        ...

    def numbers(self, parts: Parts, config: Config) -> dict[str, np.float32]:
        """Return the values with which the state of a run begins, by these names."""
        ...

    def inputs(self, parts: Parts) -> Values:
        """Return the values that come with the batches of a run."""
        ...

    def change(self, made: StepParts, values: Values) -> StepParts:
        """Return what a step computes with, except for the objective, with the values of a run.

        An evaluation has only those values that it depends on.
        """
        ...

    def of_objective(self, values: Values) -> dict[str, Any]:
        """Return the arguments of `make_objective_on` that have the values of a run."""
        ...


@dataclass(frozen=True)
class Differences:
    """Everything in which the runs of a program differ; it is false if that is nothing."""

    of: tuple[Difference, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.of)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of those values that are leaves of the state."""
        return tuple(key for one in self.of for key in one.keys)

    def numbers(self, parts: Parts, config: Config) -> dict[str, np.float32]:
        """Return the values with which the state of a run begins."""
        return {key: number for one in self.of for key, number in one.numbers(parts, config).items()}

    def inputs(self, parts: Parts) -> Values:
        """Return the values that come with the batches of a run."""
        return {name: value for one in self.of for name, value in one.inputs(parts).items()}

    def leaves(self, hparams: Mapping[str, Array]) -> Values:
        """Return the values among the leaves of a state."""
        return {key: hparams[key] for key in self.keys}

    def evaluated(self, parts: Parts, inputs: Values) -> Values:
        """Return the values that the evaluations of a run depend on; `inputs` come with its batches."""
        own = {key: np.float32(parts.hparams[key]) for key in self.keys if is_evaluated(key)}
        return {**inputs, **own}

    def parts_of(self, parts: Parts, config: Config, trust: tuple[str, ...] = ()) -> Parts:
        """Return the parts of a run of the program: constants, and numbers for its state."""
        own = with_constants(parts, config, trust)
        return replace(own, hparams={**own.hparams, **self.numbers(own, config)})

    def traced(self, made: StepParts, values: Values) -> StepParts:
        """Return what a step computes with, with the values of a run, inside a trace."""
        if not self.of:
            return made
        arguments: dict[str, Any] = {}
        for one in self.of:
            made = one.change(made, values)
            arguments |= one.of_objective(values)
        first, parts = self.of[0], made.parts
        objective = make_objective_on(first.config, first.trust, parts.spec, parts.preprocess, **arguments)
        return replace(made, parts=replace(parts, objective=objective))

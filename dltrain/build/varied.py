"""The parts of a program whose lanes differ in numbers: these are traced values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flax import nnx

from dltrain.build.model import make_model
from dltrain.build.optimizer import make_optimizer, make_schedule
from dltrain.build.parts import Parts
from dltrain.build.step import StepParts
from dltrain.build.traced import number_of, varied_numbers
from dltrain.config import schema
from dltrain.engine.numbers import Placeholder
from dltrain.engine.state import Graphs, trace_module

Config = Mapping[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Varied:
    """What a program is built from, as a function of the numbers in which its lanes differ."""

    config: Config  # of one of the runs
    trust: tuple[str, ...]
    keys: tuple[str, ...]

    def numbers(self, parts: Parts, config: Config) -> dict[str, np.float32]:
        """Return the numbers of a run, as they are kept in its state."""
        found = varied_numbers(config, self.keys, self.trust)
        if "schedule.warmup_epochs" in found:
            steps = round(found["schedule.warmup_epochs"] * parts.pipeline.steps_per_epoch)
            found["schedule.warmup_epochs"] = steps
        return {key: np.float32(value) for key, value in found.items()}

    def inputs(self, parts: Parts) -> Values:
        """Return nothing: all numbers are leaves of the state."""
        del parts
        return {}

    def optimizer(self, parts: Parts) -> Any:
        """Return an optimizer whose numbers are those of the state."""
        whole = parts.pipeline.steps_per_epoch == 1
        return lambda hparams: make_optimizer(
            self.config["optim"], self.trust, whole=whole, numbers=self._of(hparams)
        )[0](hparams)

    def change(self, made: StepParts, values: Values) -> StepParts:
        """Put the numbers of a state into schedule, model and EMA, inside a trace."""
        parts, numbers = made.parts, self._of(values)
        schedule, _ = make_schedule(self.config["schedule"], parts.pipeline.steps_per_epoch, self.trust, numbers)
        graphs, ema = self._graphs(made.graphs, parts, numbers), numbers.get("optim.ema", made.ema)
        return StepParts(replace(parts, schedule=schedule), graphs, ema)

    def of_objective(self, values: Values) -> dict[str, Any]:
        """Return the numbers, which take the place of the options of the loss."""
        return {"numbers": self._of(values)}

    def _of(self, values: Values) -> dict[str, Any]:
        return {key: values[key] for key in self.keys if key in values}

    def _graphs(self, graphs: Graphs, parts: Parts, numbers: Values) -> Graphs:
        """Return the static parts of a model that takes its numbers from the state."""
        named = {key: number for key, number in numbers.items() if key.startswith("model.")}
        if not named:
            return graphs
        node, _ = schema.split_node("model", self.config["model"])
        holes = {key: Placeholder(number_of(self.config, key) or 0, key) for key in named}

        def make(rngs: nnx.Rngs) -> nnx.Module:
            return make_model(node, self.trust, parts.spec, rngs, holes)

        return replace(trace_module(make)[1], numbers=named)

"""The parts of a program whose lanes differ in numbers: these are traced values."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flax import nnx

from dltrain.build.model import make_model, make_objective_on
from dltrain.build.optimizer import make_optimizer, make_schedule
from dltrain.build.parts import Parts, with_numbers
from dltrain.build.traced import OF_ENGINE, number_of, varied_numbers
from dltrain.config import schema
from dltrain.engine.numbers import Placeholder
from dltrain.engine.state import Graphs, trace_module
from dltrain.types import Array

Config = Mapping[str, Any]
Numbers = Mapping[str, Any]


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

    def parts_of(self, parts: Parts, config: Config) -> Parts:
        """Return the parts of a run of this program: its numbers are constants, except in the optimizer."""
        own = with_numbers(parts, config, self.trust)
        schedule, plateau = make_schedule(config["schedule"], parts.pipeline.steps_per_epoch, self.trust)
        objective = make_objective_on(config, self.trust, parts.spec, parts.preprocess)
        hparams = {**own.hparams, **self.numbers(parts, config)}
        return replace(own, hparams=hparams, schedule=schedule, plateau=plateau, objective=objective)

    def optimizer(self, parts: Parts) -> Any:
        """Return an optimizer whose numbers are those of the state."""
        whole = parts.pipeline.steps_per_epoch == 1
        return lambda hparams: make_optimizer(
            self.config["optim"], self.trust, whole=whole, numbers=self.of(hparams)
        )[0](hparams)

    def traced(self, parts: Parts, hparams: Mapping[str, Array]) -> Parts:
        """Return the parts with the numbers of a state, inside a trace."""
        numbers = self.of(hparams)
        schedule, _ = make_schedule(self.config["schedule"], parts.pipeline.steps_per_epoch, self.trust, numbers)
        return replace(parts, schedule=schedule, objective=self.objective(parts, numbers))

    def objective(self, parts: Parts, numbers: Numbers) -> Any:
        """Return the objective with these numbers."""
        return make_objective_on(self.config, self.trust, parts.spec, parts.preprocess, numbers)

    def of(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers among the leaves of a state."""
        return {key: hparams[key] for key in self.keys}

    def of_loss(self, hparams: Mapping[str, Any]) -> dict[str, Any]:
        """Return the numbers that an evaluation depends on."""
        return {
            key: np.float32(hparams[key]) for key in self.keys if key.startswith("loss.") and key not in OF_ENGINE
        }

    def graphs(self, graphs: Graphs, parts: Parts, hparams: Mapping[str, Array]) -> Graphs:
        """Return the static parts of a model that takes its numbers from the state."""
        named = {key: hparams[key] for key in self.keys if key.startswith("model.")}
        if not named:
            return graphs
        node, _ = schema.split_node("model", self.config["model"])
        holes = {key: Placeholder(number_of(self.config, key) or 0, key) for key in named}

        def make(rngs: nnx.Rngs) -> nnx.Module:
            return make_model(node, self.trust, parts.spec, rngs, holes)

        return replace(trace_module(make)[1], numbers=named)

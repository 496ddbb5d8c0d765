"""Brings the learning rate down where the monitored number no longer improves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from dltrain.callbacks.best import Best
from dltrain.engine.events import Replace, TrainEvent
from dltrain.engine.state import TrainState


@dataclass(frozen=True)
class Patience:
    """How long to wait, and what to do then; see `dltrain.schedules.plateau`."""

    factor: float = 0.1
    patience: int = 5
    min_delta: float = 0.0
    cooldown: int = 0
    min_scale: float = 1e-4


@dataclass
class Plateau:
    """Multiplies `hparams.scale`, a leaf of the state: nothing is compiled anew."""

    best: Best
    options: Patience
    place: Callable[[TrainState], TrainState] = lambda state: state  # puts a state onto the run's devices
    value: float | None = None  # what is to be improved upon
    waited: int = 0  # evaluations
    resting: int = 0  # evaluations of the cooldown that are left

    def __call__(self, event: TrainEvent) -> Replace | None:
        """Count evaluations without improvement."""
        if self.best.split not in event.results:
            return None
        found = event.results[self.best.split].scalars[self.best.name]
        if self.best.is_better(found, self.value, by=self.options.min_delta):
            self.value, self.waited = found, 0
        else:
            self.waited += 1
        if self.resting:
            self.resting, self.waited = self.resting - 1, 0
        if self.waited < self.options.patience:
            return None
        self.waited, self.resting = 0, self.options.cooldown
        hparams = event.state.hparams
        scale = jnp.maximum(
            hparams["scale"] * jnp.float32(self.options.factor), jnp.float32(self.options.min_scale)
        )
        return Replace(self.place(replace(event.state, hparams={**hparams, "scale": scale})))

    def state(self) -> dict[str, Any]:
        """Return the counts, and what is to be improved upon."""
        return {"value": self.value, "waited": self.waited, "resting": self.resting}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from there."""
        self.value, self.waited, self.resting = saved["value"], saved["waited"], saved["resting"]

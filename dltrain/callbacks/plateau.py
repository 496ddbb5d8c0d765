"""Reduces the learning rate when the monitored metric stops improving."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.callbacks.best import Best
from dltrain.engine.events import Replace, TrainEvent
from dltrain.engine.state import TrainState


@dataclass(frozen=True)
class Patience:
    """When to reduce the rate, and by how much; see `dltrain.schedules.plateau`."""

    factor: float = 0.1
    patience: int = 5
    min_delta: float = 0.0
    cooldown: int = 0
    min_scale: float = 1e-4


@dataclass
class Plateau:
    """Multiplies `hparams.scale`, a leaf of the state, so that nothing is recompiled."""

    best: Best
    options: Patience
    place: Callable[[TrainState], TrainState] = lambda state: state  # moves a state to the devices of the run
    value: float | None = None  # the value to improve on
    waited: int = 0  # evaluations without improvement
    resting: int = 0  # remaining evaluations of the cooldown

    def __call__(self, event: TrainEvent) -> Replace | None:
        """Count evaluations without improvement."""
        if self.best.split not in event.results:
            return None
        found = event.results[self.best.split].scalars[self.best.name]
        if self.value is None and not np.isfinite(found):  # nothing to compare: the metric may never be defined
            return None
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
        """Return the counts and the value to improve on."""
        return {"value": self.value, "waited": self.waited, "resting": self.resting}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self.value, self.waited, self.resting = saved["value"], saved["waited"], saved["resting"]

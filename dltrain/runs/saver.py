"""Checkpoints while training goes on: copied here, written by a thread."""

import copy
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.callbacks.best import Best
from dltrain.engine.events import TrainEvent
from dltrain.engine.state import TrainState, named_leaves
from dltrain.runs import checkpoint


@dataclass
class RunClock:
    """What a run has taken so far, its earlier legs included: it may be resumed, or rolled back."""

    seconds: float = 0.0  # of training, up to the beginning of the leg
    saves: int = 0
    stalled: float = 0.0  # seconds that training stood still for saves


class Saver:
    """A callback that writes checkpoints, keeping the last, the best, and those of steps that `keeps` names.

    Training stands still while the state is copied; a thread writes the copy, verifies it, and deletes what is no
    longer kept. One checkpoint is written at a time. What fails in the thread is raised by the next save or `wait`.

    With `share`, saves that come by an interval are left out while they would take more than that part of the time.
    """

    def __init__(
        self,
        folder: Path,
        best: Best | None,
        remembering: dict[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        share: float | None = None,
        keeps: Callable[[int], bool] = lambda step: False,
        clock: RunClock | None = None,
        say: Callable[[str], None],
    ) -> None:
        """Write into `folder`; `remembering` are callbacks whose memory is saved, by a name that stays the same.

        `about` stands in each manifest. `clock` is what the run took before, and is added to. `say` is told of an
        older checkpoint that was found damaged.
        """
        self.remembering = remembering
        self.clock = clock or RunClock()
        self.took = 0.0  # seconds, the last write
        self.ended = 0.0  # by the clock, the last write
        self._folder, self._best, self._share, self._keeps = folder, best, share, keeps
        self._say, self._about = say, about
        self._kept: set[int] = set()  # steps whose checkpoints stay, however the interval changes later
        self._step: int | None = None  # of the last save
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, step: int, state: TrainState) -> None:
        """Save this state; nothing to do where it was saved just now."""
        if step == self._step:
            return
        began = time.monotonic()
        self.wait()
        # Copies: the next chunk takes the memory of the state, which on a processor NumPy would otherwise share.
        leaves = {name: np.array(value) for name, value in named_leaves(state).items()}
        memory = {name: c.state() for name, c in self.remembering.items() if hasattr(c, "state")}
        self.clock.saves += 1
        self._kept |= {step} if self._keeps(step) else set()
        meta = {
            "callbacks": copy.deepcopy(memory),
            "best": self.best_step,
            "kept": sorted(self._kept),
            "clock": {**asdict(self.clock), "seconds": self.seconds},
        }
        self._step = step
        self._thread = threading.Thread(target=self._write, args=(step, leaves, meta), name="checkpoint")
        self._thread.start()
        self.clock.stalled += time.monotonic() - began

    def __call__(self, event: TrainEvent) -> None:
        """Save, if it is time to."""
        if self._share is not None:
            busy = self._thread is not None and self._thread.is_alive()
            if busy or time.monotonic() - self.ended < self.took / self._share:
                return
        self.save(event.step, event.state)

    def join(self) -> None:
        """Wait for the write under way, however it ends: nobody else may use the folder before."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wait(self) -> None:
        """Wait for the write under way, and raise what went wrong in it."""
        self.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    @property
    def seconds(self) -> float:
        """Seconds that the run has trained, all its legs together."""
        return self.clock.seconds + time.monotonic() - self._began

    @property
    def best_step(self) -> int | None:
        """Step of the best state so far, if anything is watched."""
        return self._best.step if self._best and self._best.value is not None else None

    def check(self, event: TrainEvent) -> None:
        """Raise what went wrong in a write that has ended."""
        del event
        if self._error is not None:
            self.wait()

    def restore(self, start: checkpoint.Checkpoint) -> None:
        """Give the callbacks their memory back."""
        self._step = start.step
        self._kept = set(start.meta["kept"])
        for name, saved in start.meta["callbacks"].items():
            if saved is not None and name in self.remembering and hasattr(self.remembering[name], "restore"):
                self.remembering[name].restore(saved)

    def _write(self, step: int, leaves: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        began = time.monotonic()
        try:
            checkpoint.save(self._folder, step, leaves, meta, self._about)
            there = checkpoint.steps(self._folder)
            checkpoint.prune(self._folder, {step, meta["best"]} & {*there}, spared=meta["kept"], say=self._say)
        except BaseException as error:
            self._error = error
        self.ended = time.monotonic()
        self.took = self.ended - began

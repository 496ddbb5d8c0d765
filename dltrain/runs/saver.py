"""Checkpoints during training: copied here, written by a thread, of each process if all see the folder.

The thread is hand-written, since that of Orbax cannot run the commit of `checkpoint` (sync, manifest, rename).
"""

import copy
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.callbacks.best import Best
from dltrain.devices import hosts
from dltrain.devices.channel import Channel
from dltrain.devices.mesh import on_host
from dltrain.devices.parts import copied
from dltrain.engine.events import TrainEvent
from dltrain.engine.state import TrainState, named_leaves
from dltrain.runs import checkpoint
from dltrain.runs.files import Files, files_at
from dltrain.runs.parts import save_parts

ASSUMED = 0.5  # seconds of a write, until one is measured
REMEMBERED = 2**25  # bytes of a best state that are kept in memory until the run is evaluated


@dataclass
class RunClock:
    """The time a run has taken so far, including earlier segments (before it was resumed or rolled back)."""

    seconds: float = 0.0  # of training, before this segment
    saves: int = 0
    stalled: float = 0.0  # seconds that training waited for saves


@dataclass(frozen=True)
class _Draft:
    """What a checkpoint will hold, copied from the run at its step."""

    step: int
    leaves: dict[str, Any]  # NumPy arrays, or arrays of all processes of which this one has its parts
    meta: dict[str, Any]


class Saver:
    """A callback that writes checkpoints and keeps the last, the best, and those of steps where `keeps` is true.

    Training waits while the state is copied; a thread writes the copy, verifies it, and deletes checkpoints that
    are no longer kept. One checkpoint is written at a time. An error in the thread is raised by the next save or
    `wait`.

    With `share`, saves at an interval are skipped while they would take more than this share of the time. With
    `defers`, best states wait as copies in memory for that share of the time, and at most for the next save or for
    `join`: many short runs at once would do little else than write them. Before the first one is written, it is
    assumed to take `ASSUMED` seconds.
    """

    def __init__(
        self,
        folder: Path | Files,
        best: Best | None,
        remembering: dict[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        share: float | None = None,
        defers: float | None = None,
        keeps: Callable[[int], bool] = lambda step: False,
        clock: RunClock | None = None,
        on_saved: Callable[[int], None] = lambda step: None,
        holds: Callable[[], Collection[int]] = lambda: (),
        together: Channel | None = None,
        warn: Callable[[str], None],
    ) -> None:
        """Write into `folder`; `remembering` maps names to the callbacks whose state is saved.

        `about` is written to each manifest. `clock` has the time of earlier segments, and is updated. `on_saved`
        is called with the step of each checkpoint that was written; `warn` receives the warning about an older
        checkpoint that is damaged. `holds` tells at each write which steps must stay besides those.

        Of several processes that see the folder each writes its parts, and they talk by the channel `together`.
        Without it, process 0 gathers all arrays and writes them.
        """
        self.remembering = remembering
        self.clock = clock or RunClock()
        self.took = 0.0  # seconds of the last write
        self.ended = 0.0  # time.monotonic() after the last write
        self._folder, self._best, self._share, self._keeps = files_at(folder), best, share, keeps
        self._place = self._folder.path  # of which the user knows
        self._warn, self._about, self._on_saved, self._holds = warn, about, on_saved, holds
        self._kept: set[int] = set()  # steps whose checkpoints stay, also if the interval changes later
        self._defers, self._together = defers, together
        if defers is not None:
            self.took, self.ended = ASSUMED, time.monotonic()
        self._best_leaves: tuple[int, dict[str, Any]] | None = None
        self._waiting: _Draft | None = None
        self._step: int | None = None  # of the last save
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._watched = False  # whether it is not yet known how the last write ended

    def save(self, step: int, state: TrainState) -> None:
        """Save this state, unless the last save was at this step."""
        if step == self._step and not self._waiting:
            return
        began = time.monotonic()
        self._end_write()
        drafts = [self._waiting] if self._waiting else []
        self._waiting = None
        self._start_write(drafts if step == self._step else [*drafts, self._draft(step, state)])
        self.clock.stalled += time.monotonic() - began

    def save_best(self, step: int, state: TrainState) -> None:
        """Save this state, which is the best so far, at once or when its turn comes."""
        if self._defers is None:
            self.save(step, state)
        elif step != self._step:
            self._waiting = self._draft(step, state)  # the best state before it is not needed any more
            self._write_waiting()

    def _draft(self, step: int, state: TrainState) -> _Draft:
        # Copies: the next chunk reuses the memory of the state, which NumPy would share on a CPU.
        named = named_leaves(state)
        values = list(named.values())
        copies = map(copied, values) if self._together else map(np.array, on_host(values))
        leaves = dict(zip(named, copies, strict=True))
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
        if step == meta["best"]:
            small = not self._together and sum(value.nbytes for value in leaves.values()) <= REMEMBERED
            self._best_leaves = (step, leaves) if small else None
        return _Draft(step, leaves, meta)

    def _start_write(self, drafts: Sequence[_Draft]) -> None:
        if not (self._together or hosts.leads()):  # process 0 writes
            return
        thread = threading.Thread(target=self._write, args=(drafts,), name="checkpoint")
        thread.start()  # which fails if there is no memory for it
        self._thread, self._watched = thread, True

    def _write_waiting(self) -> None:
        """Begin to write the state that waits, unless saves take too much of the time."""
        if self._waiting and self._defers and not self._busy(self._defers):
            self._end_write()
            draft, self._waiting = self._waiting, None
            self._start_write([draft])

    def _busy(self, share: float) -> bool:
        writes = self._thread is not None and self._thread.is_alive()
        return writes or time.monotonic() - self.ended < self.took / share

    def __call__(self, event: TrainEvent) -> None:
        """Save, unless saves take too much of the time."""
        if self._share is None or not hosts.agree(self._busy(self._share), "checkpoint"):
            self.save(event.step, event.state)

    def join(self) -> None:
        """Write what waits; return when no write is under way, failed or not: the folder is in use until then."""
        self._join_thread()
        if self._waiting:
            draft, self._waiting = self._waiting, None
            self._write([draft])

    def _join_thread(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wait(self) -> None:
        """Write what waits, wait until that has ended, and raise its error if it failed."""
        self.join()
        self._raise()

    def _end_write(self) -> None:
        """Wait for the current write, and raise its error if it failed."""
        self._join_thread()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    @property
    def seconds(self) -> float:
        """Seconds of training over all segments of the run."""
        return self.clock.seconds + time.monotonic() - self._began

    @property
    def best_step(self) -> int | None:
        """Step of the best state so far; None if no metric is monitored."""
        return self._best.step if self._best and self._best.value is not None else None

    def remembered(self, step: int) -> Mapping[str, np.ndarray] | None:
        """Return the arrays of the best state, of this step, if they are still in memory."""
        kept = self._best_leaves
        return kept[1] if kept and kept[0] == step else None

    def check(self, event: TrainEvent) -> None:
        """Raise the error of a write that has failed, and write a best state if its turn has come."""
        del event
        if self._has_failed():
            self._end_write()
        self._write_waiting()

    def _has_failed(self) -> bool:
        """Tell whether a write has failed; of several processes, all are told after the same chunk."""
        if not self._together:
            return self._error is not None
        if not self._watched:
            return False
        ended = self._thread is None or not self._thread.is_alive()
        ended, failed = hosts.agree([ended, ended and self._error is not None], "write of a checkpoint")
        self._watched = not ended
        return failed

    def restore(self, start: checkpoint.Checkpoint) -> None:
        """Restore the state of the callbacks."""
        self._step = start.step
        self._kept = set(start.meta["kept"])
        for name, saved in start.meta["callbacks"].items():
            if saved is not None and name in self.remembering and hasattr(self.remembering[name], "restore"):
                self.remembering[name].restore(saved)

    def _write(self, drafts: Sequence[_Draft]) -> None:
        began = time.monotonic()
        try:
            for draft in drafts:
                what = (draft.step, draft.leaves, draft.meta, self._about)
                if self._together:
                    save_parts(self._folder, *what, self._together)
                else:
                    checkpoint.save(self._folder, *what)
                if hosts.leads():
                    self._on_saved(draft.step)
            if not hosts.leads():
                return
            step, meta = drafts[-1].step, drafts[-1].meta
            there = checkpoint.steps(self._folder)
            spared = {*meta["kept"], *self._holds()}
            checkpoint.prune(self._folder, {step, meta["best"]} & {*there}, spared=spared, warn=self._warn)
            if self._folder.path != self._place:
                self._place = self._folder.path
                self._warn(f"the run folder was renamed: this run goes on in {self._place.parent}")
        except BaseException as error:
            self._error = error
        finally:
            self.ended = time.monotonic()
            self.took = self.ended - began

"""A run from its first step to its report: what `train` and `resume` share."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dltrain.data.split import NAMES
from dltrain.engine import checkpoint
from dltrain.engine.callbacks import (
    Best,
    Callback,
    EarlyStopping,
    Evaluate,
    Every,
    Moment,
    StopBelow,
    StopTraining,
    Watch,
)
from dltrain.engine.folder import RunFolder
from dltrain.engine.loop import Loop, Outcome, Pace
from dltrain.engine.profile import Profile
from dltrain.engine.recorder import Recorder
from dltrain.engine.state import TrainState, from_named, named_leaves
from dltrain.errors import Interrupted, NonFiniteError, Terminated
from dltrain.program import Program
from dltrain.report.console import Progress, Screen

SAVING = 0.05  # of the time may go into automatic checkpoints
SKIPS = 10  # with on_nonfinite=skip: so many steps in a row that change nothing end the run
LEARNT = 0.01  # the loss at which `overfit_batches` calls its batches learnt


class Signals:
    """A callback that ends training at the next chunk's end after SIGINT or SIGTERM; a second signal kills."""

    def __init__(self) -> None:
        """Nothing was received yet."""
        self.received: signal.Signals | None = None

    def __call__(self, moment: Moment) -> None:
        """Stop if a signal came."""
        if self.received:
            raise StopTraining(f"interrupted by {self.received.name}")

    @contextlib.contextmanager
    def caught(self) -> Generator[None]:
        """Catch the two signals while training; other threads than the main one cannot."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._receive) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: Any) -> None:
        del frame
        self.received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Saver:
    """Writes checkpoints, keeping the last and the best.

    With `share`, saves that come by an interval are left out while they would take more than that part of the time.
    """

    folder: Path
    best: Best | None
    remembering: dict[str, Any]  # callbacks whose memory is saved, by a name that is the same at each start
    share: float | None = None
    took: float = 0.0  # seconds, the last save
    ended: float = 0.0  # by the clock, the last save

    def save(self, step: int, state: TrainState) -> None:
        """Save this state and delete what is neither last nor best."""
        began = time.monotonic()
        memory = {name: c.state() for name, c in self.remembering.items() if hasattr(c, "state")}
        checkpoint.save(self.folder, step, named_leaves(state), {"callbacks": memory, "best": self.best_step})
        kept = {step, self.best_step}
        checkpoint.prune(self.folder, [s for s in checkpoint.steps(self.folder) if s in kept])
        self.ended = time.monotonic()
        self.took = self.ended - began

    def __call__(self, moment: Moment) -> None:
        """Save, if it is time to."""
        if self.share is None or time.monotonic() - self.ended >= self.took / self.share:
            self.save(moment.step, moment.state)

    @property
    def best_step(self) -> int | None:
        """Step of the best state so far, if anything is watched."""
        return self.best.step if self.best and self.best.value is not None else None

    def restore(self, meta: dict[str, Any]) -> None:
        """Give the callbacks their memory back."""
        for name, saved in meta["callbacks"].items():
            if saved is not None and name in self.remembering and hasattr(self.remembering[name], "restore"):
                self.remembering[name].restore(saved)


@dataclass
class Trained:
    """What a run ended with."""

    outcome: Outcome
    best_step: int | None
    recorder: Recorder
    interrupted: signal.Signals | None
    first_step: int
    skipped: list[int]  # steps that were not finite and changed nothing
    profile: Profile | None = None  # with `profile=true`


def train(
    program: Program,
    folder: RunFolder,
    screen: Screen,
    *,
    start: checkpoint.Checkpoint | None = None,
    state: TrainState | None = None,
    at_start: Callable[[Recorder], None] = lambda recorder: None,
) -> Trained:
    """Train from the beginning, from `state`, or on from the checkpoint `start`.

    `at_start` may describe the run to the recorder. The caller closes the recorder of what is returned.
    """
    plan, parts = program.plan, program.parts
    first = start.step if start else 0
    state = program.start() if state is None else state
    recorder = Recorder(
        folder,
        log_every=plan.log_every,
        batch_size=parts.pipeline.batch_size,
        start_step=first,
        waited=program.waited,
    )
    at_start(recorder)
    signals, monitor = Signals(), plan.monitor
    best = Best(monitor.split, monitor.name, monitor.higher_is_better) if monitor else None
    callbacks, saver = _callbacks(program, folder, screen, recorder, best, first)
    pace = Pace(most=program.capacity)
    profile = Profile(folder.tensorboard, pace, steps=plan.total - first) if plan.profile else None
    if start:
        state = program.place(_continued(state, start, stretch=plan.stretch))
        saver.restore(dict(start.meta))
    loop = Loop(
        chunk=program.chunk,
        feed=program.feed,
        data=program.data,
        callbacks=[*([profile] if profile else []), *callbacks, signals],
        per_epoch=parts.pipeline.steps_per_epoch,
        pace=pace,
    )
    try:
        with contextlib.ExitStack() as failed:
            failed.callback(recorder.close)
            with signals.caught():
                outcome = loop.run(state, start=first, total=plan.total)
                screen.end_live()
                saver.save(outcome.step, outcome.state)
            failed.pop_all()
    except NonFiniteError as error:
        raise NonFiniteError(error.step, _explained(error, program, folder)) from error
    finally:
        screen.end_live()
        program.close()
        if profile:
            profile.close()
    skipped = list(saver.remembering["watch"].skipped)
    return Trained(outcome, saver.best_step, recorder, signals.received, first, skipped, profile)


def _callbacks(
    program: Program, folder: RunFolder, screen: Screen, recorder: Recorder, best: Best | None, first: int
) -> tuple[list[Callback], Saver]:
    """List what happens at a chunk's end, in order: look, remember, write, then whatever may end training."""
    plan, per_epoch = program.plan, program.parts.pipeline.steps_per_epoch
    own = [Every(every, callback, per_epoch=per_epoch) for every, callback in program.parts.callbacks]
    stopping = EarlyStopping(best, plan.patience, plan.min_delta) if best and plan.patience else None
    named: dict[str, Any] = {f"own.{i}": callback for i, callback in enumerate(own)}
    named |= {"best": best} if best else {}
    named |= {"early_stopping": stopping} if stopping else {}
    saver = Saver(folder.checkpoints, best, named, share=SAVING if plan.saves_by_itself else None)

    def save_best(moment: Moment) -> None:
        if best and best.improved:
            saver.save(moment.step, moment.state)

    watch = Watch(limit=SKIPS if plan.skip_nonfinite else 1)
    named["watch"] = watch
    callbacks: list[Callback] = [watch]
    if plan.splits:
        callbacks.append(Every(plan.eval_every, Evaluate(program.evaluate, plan.splits), per_epoch=per_epoch))
    callbacks += [best] if best else []
    callbacks += [
        recorder,
        Progress(screen, recorder, metric=plan.monitor.name if plan.monitor else None, start=first),
    ]
    callbacks += own
    callbacks += [stopping] if stopping else []
    callbacks += [StopBelow(LEARNT, "train")] if plan.overfit else []
    callbacks += [save_best, *(Every(every, saver, per_epoch=per_epoch) for every in plan.save_every)]
    return callbacks, saver


def _explained(error: NonFiniteError, program: Program, folder: RunFolder) -> str:
    rows = program.parts.pipeline.indices(error.step - 1, 1)[0]
    few = ", ".join(map(str, rows[rows >= 0][:8].tolist()))
    saved = checkpoint.steps(folder.checkpoints)
    kept = f"the last good checkpoint is of step {saved[-1]}" if saved else "no checkpoint was written yet"
    return f"{error} (rows {few}, ...); {kept}. Try a smaller optim.learning_rate, or optim.clip={{norm: 1.0}}"


def _continued(fresh: TrainState, start: checkpoint.Checkpoint, *, stretch: bool) -> TrainState:
    """Return the saved state with the rates of today's config; schedules keep their length unless stretched."""
    state = from_named(fresh, start.leaves, what=f"checkpoint of step {start.step}")
    kept = {} if stretch else {"total_steps": state.hparams["total_steps"]}
    return replace(state, hparams={**fresh.hparams, **kept})


def best_checkpoint(folder: RunFolder, *, say: Callable[[str], None]) -> checkpoint.Checkpoint:
    """Read the checkpoint that was best by the monitored number, else the last."""
    last = checkpoint.load_last(folder.checkpoints, say=say)
    best = last.meta["best"]
    return last if best in (None, last.step) else checkpoint.load(folder.checkpoints, best)


def raise_if_interrupted(trained: Trained, folder: RunFolder) -> None:
    """Raise what ends the process with 130 or 143, saying how to go on."""
    if trained.interrupted:
        kind = Interrupted if trained.interrupted is signal.SIGINT else Terminated
        where = f"saved at step {trained.outcome.step}; go on with: dltrain resume {folder.word}"
        raise kind(f"{trained.outcome.reason}: {where}")


def evaluated_splits(program: Program) -> list[str]:
    """Name the splits that the final numbers are of."""
    return [name for name in NAMES if name != "train" and len(program.parts.splits[name])]

"""A run from its first step to its report: what `train` and `resume` share."""

import contextlib
import hashlib
import signal
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from dltrain.build.plan import Plan
from dltrain.build.program import Program
from dltrain.callbacks.best import Best
from dltrain.callbacks.early_stopping import EarlyStopping
from dltrain.callbacks.evaluation import Evaluate
from dltrain.callbacks.nonfinite import NonFiniteGuard
from dltrain.callbacks.plateau import Plateau
from dltrain.callbacks.stopping import OutOfTime, Reached, StopBelow
from dltrain.data.split import NAMES
from dltrain.devices import memory, runtime
from dltrain.durations import Duration
from dltrain.engine.events import Callback, Every, StopTraining, TrainEvent
from dltrain.engine.loop import Loop, Outcome, Pace
from dltrain.engine.state import ROLLBACKS, TrainState, from_named
from dltrain.errors import CheckpointError, Interrupted, NonFiniteError, Terminated
from dltrain.inference.generate import draws, writes_text
from dltrain.profiling.recording import Profile
from dltrain.report.console import Progress, Screen, complain
from dltrain.report.nonfinite import explain
from dltrain.report.sampling import Sampling
from dltrain.report.text import TextSample
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder
from dltrain.runs.saver import RunClock, Saver
from dltrain.types import Kind

SAVING = 0.05  # of the time may go into automatic checkpoints
SKIPS = 10  # with on_nonfinite=skip: so many steps in a row that change nothing end the run
LEARNT = 0.01  # the loss at which `overfit_batches` calls its batches learnt


class Signals:
    """A callback that ends training at the next chunk's end after SIGINT or SIGTERM; a second signal kills."""

    def __init__(self) -> None:
        """Nothing was received yet."""
        self.received: signal.Signals | None = None

    def __call__(self, event: TrainEvent) -> None:
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
class Trained:
    """What a run ended with."""

    outcome: Outcome
    saver: Saver
    recorder: Recorder
    interrupted: signal.Signals | None
    first_step: int
    skipped: list[int]  # steps that were not finite and changed nothing
    left_out: list[int]  # steps that a rollback left out
    profile: Profile | None = None  # with `profile=true`

    @property
    def best_step(self) -> int | None:
        """Step of the best state, if anything was watched."""
        return self.saver.best_step


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

    With `on_nonfinite=rollback` a step that is not finite sends training back to the last checkpoint, and is left
    out from there on. `at_start` may describe the run to the recorder, which the caller closes.
    """
    folder.check_disk(memory.size(program.shapes))
    left_out, signals = _left_out(start), Signals()
    clock = RunClock(**start.meta["clock"]) if start else RunClock()
    try:
        while True:
            try:
                return _segment(program, folder, screen, start, state, at_start, left_out, signals, clock)
            except NonFiniteError as error:
                if not program.plan.rollback or len(left_out) == ROLLBACKS:
                    raise
                start = checkpoint.load_last(folder.checkpoints, say=complain)
                left_out = sorted({*left_out, *_left_out(start), error.step})
                state, at_start = None, lambda recorder: None
                screen.say(
                    f"{error}: back to step {start.step}, leaving out step {error.step} "
                    f"({len(left_out)} of at most {ROLLBACKS})",
                    style="yellow",
                )
    finally:
        program.close()


def _segment(
    program: Program,
    folder: RunFolder,
    screen: Screen,
    start: checkpoint.Checkpoint | None,
    state: TrainState | None,
    at_start: Callable[[Recorder], None],
    left_out: list[int],
    signals: Signals,
    clock: RunClock,
) -> Trained:
    """Train until the end, or until a step is not finite."""
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
    monitor = plan.monitor
    best = Best(monitor.split, monitor.name, monitor.higher_is_better) if monitor else None
    callbacks, saver = _callbacks(program, folder, screen, recorder, best, first, clock)
    pace = Pace(most=program.capacity)
    profile = Profile(folder.tensorboard, pace, steps=plan.total - first) if plan.profile else None
    if start:
        state = program.place(_continued(state, start, left_out, stretch=plan.stretch))
        saver.restore(start)
    elif plan.rollback:
        saver.save(0, state)  # there must be something to go back to
    loop = Loop(
        chunk=program.chunk,
        feed=program.feed_chunk,
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
                saver.wait()
            failed.pop_all()
    except NonFiniteError as error:
        saver.join()
        if plan.rollback and len(left_out) < ROLLBACKS:
            clock.seconds = saver.seconds
            raise
        raise NonFiniteError(error.step, f"{error}{explain(program, folder, loop.state, error.step)}") from error
    finally:
        screen.end_live()
        saver.join()
        if profile:
            profile.close()
    skipped = list(saver.remembering["nonfinite"].skipped)
    return Trained(outcome, saver, recorder, signals.received, first, skipped, left_out, profile)


def _left_out(start: checkpoint.Checkpoint | None) -> list[int]:
    """Return the steps that a checkpoint leaves out."""
    return [] if start is None else [int(step) for step in start.leaves["left_out"] if step]


def _callbacks(
    program: Program,
    folder: RunFolder,
    screen: Screen,
    recorder: Recorder,
    best: Best | None,
    first: int,
    clock: RunClock,
) -> tuple[list[Callback], Saver]:
    """List what happens at a chunk's end, in order: look, remember, write, then whatever may end training."""
    plan, per_epoch = program.plan, program.parts.pipeline.steps_per_epoch
    own = [Every(every, callback, per_epoch=per_epoch) for every, callback in program.parts.callbacks]
    stopping = EarlyStopping(best, plan.patience, plan.min_delta) if best and plan.patience else None
    plateau = Plateau(best, follows, program.place) if best and (follows := program.parts.plateau) else None
    named: dict[str, Any] = {f"own.{i}": callback for i, callback in enumerate(own)}
    named |= {"best": best} if best else {}
    named |= {"early_stopping": stopping} if stopping else {}
    named |= {"plateau": plateau} if plateau else {}
    kept = plan.keep_every
    saver = Saver(
        folder.checkpoints,
        best,
        named,
        about=_about(program, folder),
        share=SAVING if plan.auto_checkpoint else None,
        keeps=lambda step: bool(kept) and step % kept == 0,
        clock=clock,
        say=complain,
    )

    def save(event: TrainEvent) -> None:
        saver.save(event.step, event.state)

    def save_best(event: TrainEvent) -> None:
        if best and best.improved:
            save(event)

    guard = NonFiniteGuard(limit=SKIPS if plan.skip_nonfinite else 1)
    named["nonfinite"] = guard
    callbacks: list[Callback] = [guard]
    if plan.splits:
        callbacks.append(Every(plan.eval_every, Evaluate(program.evaluate, plan.splits), per_epoch=per_epoch))
    callbacks += [best] if best else []
    callbacks += [
        recorder,
        Progress(screen, recorder, metric=plan.monitor.name if plan.monitor else None, start=first),
    ]
    if draws(program) and program.parts.spec.kind is Kind.IMAGE:  # histograms take 0.4 s to draw
        callbacks.append(Every(plan.eval_every, Sampling(program, recorder), per_epoch=per_epoch))
    if writes_text(program):
        callbacks.append(Every(plan.eval_every, TextSample(program, recorder), per_epoch=per_epoch))
    callbacks += own
    callbacks += [plateau] if plateau else []
    callbacks += _stopping(plan, per_epoch, saver)
    callbacks += [stopping] if stopping else []
    callbacks += [StopBelow(LEARNT, "train")] if plan.overfit else []
    callbacks += [saver.check, save_best, *(Every(every, saver, per_epoch=per_epoch) for every in plan.save_every)]
    callbacks += [Every(Duration(kept, ""), save, per_epoch=per_epoch, at_end=False)] if kept else []
    return callbacks, saver


def _about(program: Program, folder: RunFolder) -> dict[str, Any]:
    """Say what checkpoints of this run are of: versions, SHA-256 of the saved config, fingerprint of the data."""
    config = folder.config.read_bytes() if folder.config.exists() else b""
    return {
        "versions": runtime.versions(),
        "config": hashlib.sha256(config).hexdigest(),
        "data": program.parts.source.fingerprint,
    }


def _stopping(plan: Plan, per_epoch: int, saver: Saver) -> list[Callback]:
    """List what ends training by a bound."""
    stop = plan.stop
    bounds = {"gradient_norm": stop.gradient_norm, "change": stop.change}
    bounds |= {} if plan.splits else {"loss": stop.loss}
    below: list[Callback] = [Reached(name, bound) for name, bound in bounds.items() if bound is not None]
    if plan.splits and stop.loss is not None:
        below.append(StopBelow(stop.loss, plan.splits[0]))
    looks: list[Callback] = [Every(plan.eval_every, callback, per_epoch=per_epoch) for callback in below]
    return [*looks, OutOfTime(seconds, lambda: saver.seconds)] if (seconds := stop.seconds) else looks


def _continued(
    fresh: TrainState, start: checkpoint.Checkpoint, left_out: list[int], *, stretch: bool
) -> TrainState:
    """Return the saved state with the rates of today's config.

    Schedules keep their length unless stretched, and what the rate was brought down to.
    """
    state = from_named(fresh, start.leaves, what=f"checkpoint of step {start.step}")
    names = ("scale",) if stretch else ("scale", "total_steps")
    kept = {name: state.hparams[name] for name in names if name in state.hparams}
    steps = np.zeros(ROLLBACKS, np.int32)
    steps[: len(left_out)] = left_out
    return replace(state, hparams={**fresh.hparams, **kept}, left_out=jnp.asarray(steps))


def best_checkpoint(folder: RunFolder, *, say: Callable[[str], None]) -> checkpoint.Checkpoint:
    """Read the checkpoint that was best by the monitored number, else the last.

    Raises:
        CheckpointError: it is damaged; the last one is another model, so it is not taken in its place.
    """
    last = checkpoint.load_last(folder.checkpoints, say=say)
    best = last.meta["best"]
    if best in (None, last.step):
        return last
    if not checkpoint.is_whole(folder.checkpoints, best, say=say):
        raise CheckpointError(
            f"the best state, of step {best}, is lost; the last one, of step {last.step}, is whole: "
            f"take it with checkpoint=last, or train on with dltrain resume {folder.word}"
        )
    return checkpoint.load(folder.checkpoints, best)


def restored(program: Program, folder: RunFolder, wanted: str | int) -> tuple[TrainState, int]:
    """Return the state of a run's checkpoint and its step; `wanted` is best, last or a step."""
    if wanted == "best":
        found = best_checkpoint(folder, say=complain)
    elif wanted == "last":
        found = checkpoint.load_last(folder.checkpoints, say=complain)
    elif wanted not in (there := checkpoint.steps(folder.checkpoints)):
        raise CheckpointError(f"checkpoint={wanted}: there are checkpoints of steps {', '.join(map(str, there))}")
    else:
        found = checkpoint.load(folder.checkpoints, int(wanted))
    named = from_named(program.shapes, found.leaves, what=f"checkpoint of step {found.step}")
    return program.place(named), found.step


def raise_if_interrupted(trained: Trained, folder: RunFolder) -> None:
    """Raise what ends the process with 130 or 143, saying how to go on."""
    if trained.interrupted:
        kind = Interrupted if trained.interrupted is signal.SIGINT else Terminated
        where = f"saved at step {trained.outcome.step}; go on with: dltrain resume {folder.word}"
        raise kind(f"{trained.outcome.reason}: {where}")


def evaluated_splits(program: Program) -> list[str]:
    """Name the splits that the final numbers are of."""
    return [name for name in NAMES if name != "train" and len(program.parts.splits[name])]

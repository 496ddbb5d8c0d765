"""A run from its first step to its report: what `train` and `resume` share."""

import contextlib
import hashlib
from collections.abc import Callable
from typing import Any

from dltrain.build.plan import Plan
from dltrain.build.program import Program
from dltrain.callbacks.best import Best
from dltrain.callbacks.early_stopping import EarlyStopping
from dltrain.callbacks.evaluation import Evaluate
from dltrain.callbacks.nonfinite import NonFiniteGuard
from dltrain.callbacks.plateau import Plateau
from dltrain.callbacks.profile import Profile
from dltrain.callbacks.signals import Signals
from dltrain.callbacks.stopping import OutOfTime, Reached, StopBelow
from dltrain.devices import memory, runtime
from dltrain.durations import Duration
from dltrain.engine.events import Callback, Every, TrainEvent
from dltrain.engine.loop import Loop, Pace
from dltrain.engine.state import ROLLBACKS, TrainState
from dltrain.errors import NonFiniteError
from dltrain.inference.generate import draws, writes_text
from dltrain.report.console import Progress, Screen, complain
from dltrain.report.nonfinite import explain
from dltrain.report.sampling import Sampling
from dltrain.report.text import TextSample
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder
from dltrain.runs.restore import left_out as steps_left_out
from dltrain.runs.restore import resumed_state
from dltrain.runs.result import TrainResult
from dltrain.runs.saver import RunClock, Saver
from dltrain.types import Kind

SAVING = 0.05  # of the time may go into automatic checkpoints
SKIPS = 10  # with on_nonfinite=skip: so many steps in a row that change nothing end the run
LEARNT = 0.01  # the loss at which `overfit_batches` calls its batches learnt


def train(
    program: Program,
    folder: RunFolder,
    screen: Screen,
    *,
    start: checkpoint.Checkpoint | None = None,
    state: TrainState | None = None,
    at_start: Callable[[Recorder], None] = lambda recorder: None,
) -> TrainResult:
    """Train from the beginning, from `state`, or on from the checkpoint `start`.

    With `on_nonfinite=rollback` a step that is not finite sends training back to the last checkpoint, and is left
    out from there on. `at_start` may describe the run to the recorder, which the caller closes.
    """
    folder.check_disk(memory.size(program.shapes))
    left_out, signals = steps_left_out(start) if start else [], Signals()
    clock = RunClock(**start.meta["clock"]) if start else RunClock()
    try:
        while True:
            try:
                return _segment(program, folder, screen, start, state, at_start, left_out, signals, clock)
            except NonFiniteError as error:
                if not program.plan.rollback or len(left_out) == ROLLBACKS:
                    raise
                start = checkpoint.load_last(folder.checkpoints, say=complain)
                left_out = sorted({*left_out, *steps_left_out(start), error.step})
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
) -> TrainResult:
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
        state = program.place(resumed_state(state, start, left_out, stretch=plan.stretch))
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
    return TrainResult(outcome, saver, recorder, signals.received, first, skipped, left_out, profile)


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

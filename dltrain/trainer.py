"""A run from its first step to its last, in segments: each rollback begins a new one.

Nothing is displayed here, and nothing is evaluated after the last step: an `Observer` shows the run while it
trains, and `dltrain.report` describes what it left, which begins while the last state is written.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jax

from dltrain.build.callbacks import make_callbacks
from dltrain.build.program import Program
from dltrain.callbacks.exchange import Exchange
from dltrain.callbacks.profile import Profile
from dltrain.callbacks.signals import Signals
from dltrain.devices import hosts, memory
from dltrain.engine.events import Callback
from dltrain.engine.loop import Loop
from dltrain.engine.state import ROLLBACKS, TrainState
from dltrain.errors import NonFiniteError
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder
from dltrain.runs.recording import keep_recording, make_draft
from dltrain.runs.restore import load_again, resumed_state, steps_left_out, with_parts
from dltrain.runs.result import TrainResult
from dltrain.runs.saver import RunClock, Saver
from dltrain.startup import resume_collection


class Observer(Protocol):
    """Shows a run to its user; it changes nothing that is trained."""

    def begin(self, recorder: Recorder) -> None:
        """Record what is known before the first step; called once."""
        ...

    def callbacks(self, recorder: Recorder, first: int) -> list[Callback]:
        """Return the callbacks that show a segment, which begins after `first` steps."""
        ...

    def note(self, text: str) -> None:
        """Show a message about the run."""
        ...

    def warn(self, text: str) -> None:
        """Show a warning, even in a quiet run."""
        ...

    def end_live(self) -> None:
        """Remove what is shown only while training; may be called more than once."""
        ...

    def explain(self, state: TrainState | None, step: int) -> str:
        """Describe why a step (counted from 1) from this state was not finite."""
        ...


@dataclass
class _Run:
    """What the segments of a run have in common."""

    program: Program
    folder: RunFolder
    observer: Observer
    clock: RunClock
    left_out: list[int]  # steps that rollbacks leave out, counted from 1
    signals: Signals
    exchange: Exchange | None = None
    ended: Callable[[TrainResult], None] | None = None

    @property
    def may_roll_back(self) -> bool:
        """Whether a step that is not finite is left out, instead of ending the run."""
        return self.program.plan.rollback and len(self.left_out) < ROLLBACKS


@dataclass
class _Segment:
    """A part of a run that trains from a checkpoint, or from the beginning, without a rollback."""

    start: Checkpoint | None
    first: int  # steps done before it
    recorder: Recorder
    saver: Saver
    loop: Loop
    profile: Profile | None
    draft: Path | None  # where it records


def train(
    program: Program,
    folder: RunFolder,
    observer: Observer,
    *,
    start: Checkpoint | None = None,
    state: TrainState | None = None,
    signals: Signals | None = None,
    exchange: Exchange | None = None,
    ended: Callable[[TrainResult], None] | None = None,
) -> TrainResult:
    """Train from the beginning, from the initial state `state`, or on from the checkpoint `start`.

    `signals` ends several runs at once; without it, this run catches its own. `exchange` is its part in a
    population. `ended` is called after the last step, while its state is written, unless a signal ended the run.

    With `on_nonfinite=rollback` a step that is not finite returns training to the last checkpoint, and is left out
    from there on. The caller closes the recorder in the result.

    Raises:
        NonFiniteError: a step was not finite, and the run may not skip it or roll back.
        DiskError: a checkpoint could not be written.
    """
    folder.check_disk(memory.size(program.shapes))
    if hosts.count() > 1 and not folder.shared:
        memory.check_gathered(program.shapes)
    resume_collection()
    clock = RunClock(**start.meta["clock"]) if start else RunClock()
    signals = signals or Signals(f"; from the last checkpoint: {folder.command('resume')}")
    left_out, begin = steps_left_out(start) if start else [], observer.begin
    run = _Run(program, folder, observer, clock, left_out, signals, exchange, ended)
    try:
        while True:
            try:
                initial = program.start() if state is None else state
                return _train_segment(run, _make_segment(run, start, begin), initial)
            except NonFiniteError as error:
                if not run.may_roll_back:
                    raise
                start, state, begin = _roll_back(run, error), None, lambda recorder: None
    finally:
        program.close()


def _roll_back(run: _Run, error: NonFiniteError) -> Checkpoint:
    """Return the last checkpoint, and leave out the step that was not finite."""
    start = load_again(run.folder, None, run.program.shapes, warn=run.observer.warn)
    run.left_out = sorted({*run.left_out, *steps_left_out(start), error.step})
    run.observer.note(
        f"{error}: back to step {start.step}, leaving out step {error.step} "
        f"({len(run.left_out)} of at most {ROLLBACKS})"
    )
    return start


def _make_segment(run: _Run, start: Checkpoint | None, begin: Callable[[Recorder], None]) -> _Segment:
    """Open the recorder, let `begin` describe the run to it, and build callbacks and loop."""
    program, plan, per_epoch = run.program, run.program.plan, run.program.parts.pipeline.steps_per_epoch
    first = start.step if start else 0
    recorder = Recorder(
        run.folder,
        log_every=plan.log_every,
        batch_size=program.parts.pipeline.batch_size,
        start_step=first,
        extent=start.meta["callbacks"].get("recorder", {}).get("file") if start and hosts.leads() else None,
        waited=program.waited,
        monitored=plan.monitor.name if plan.monitor else "",
        warn=run.observer.warn,
    )
    begin(recorder)
    callbacks, saver = make_callbacks(
        program,
        run.folder,
        recorder=recorder,
        observers=run.observer.callbacks(recorder, first),
        clock=run.clock,
        warn=run.observer.warn,
        exchange=run.exchange,
    )
    pace = program.make_pace()
    draft = make_draft(run.folder) if plan.profile else None
    profile = Profile(draft, pace, steps=plan.total - first) if draft else None
    order = [*([profile] if profile else []), *callbacks, run.signals]
    loop = Loop(
        program.chunk, program.feed_chunk, program.data, order, per_epoch=per_epoch, pace=pace, in_turn=_in_turn()
    )
    return _Segment(start, first, recorder, saver, loop, profile, draft)


def _in_turn() -> bool:
    """Tell whether chunks must not overlap: several processes with several CPU devices each hang (jax 0.10.2)."""
    return hosts.count() > 1 and jax.default_backend() == "cpu" and jax.local_device_count() > 1


def _train_segment(run: _Run, segment: _Segment, state: TrainState) -> TrainResult:
    """Train until the end, or until a step is not finite."""
    plan, saver, start = run.program.plan, segment.saver, segment.start
    if start:
        saved = with_parts(start, run.program.wanted)
        state = run.program.place(resumed_state(state, saved, run.left_out, stretch=plan.stretch))
        saver.restore(start)
    elif plan.rollback:
        saver.save(0, state)  # there must be a checkpoint to return to
    try:
        return _run_loop(run, segment, state)
    except NonFiniteError as error:
        saver.join()
        if run.may_roll_back:
            run.clock.seconds = saver.seconds
            raise
        why = run.observer.explain(segment.loop.state, error.step)
        raise NonFiniteError(error.step, f"{error}{why}") from error
    finally:
        run.observer.end_live()
        saver.join()
        if segment.profile and segment.draft:
            segment.profile.close()
            keep_recording(run.folder, segment.draft, segment.profile)


def _run_loop(run: _Run, segment: _Segment, state: TrainState) -> TrainResult:
    """Run the loop to its end and save the final state; if that fails, close the recorder."""
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(segment.recorder.close)
        with run.signals.caught():
            outcome = segment.loop.run(state, start=segment.first, total=run.program.plan.total)
            run.observer.end_live()
            segment.saver.save(outcome.step, outcome.state)
            result = TrainResult(
                outcome,
                saver=segment.saver,
                recorder=segment.recorder,
                interrupted=None,
                first_step=segment.first,
                skipped=list(segment.saver.remembering["nonfinite"].skipped),
                left_out=run.left_out,
                profile=segment.profile,
            )
            try:
                if run.ended and not run.signals.received:
                    run.ended(result)
            finally:
                segment.saver.wait()
            run.signals.agree()  # on one that came after the last step: all write the report, or none
            result.interrupted = run.signals.received
        on_failure.pop_all()
    return result

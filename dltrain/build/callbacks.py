"""Plan -> the callbacks of a run, in the order in which they are called after each chunk."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from dltrain.build.plan import Plan
from dltrain.build.program import Program
from dltrain.callbacks.best import Best
from dltrain.callbacks.early_stopping import EarlyStopping
from dltrain.callbacks.evaluation import Evaluate
from dltrain.callbacks.exchange import Exchange
from dltrain.callbacks.nonfinite import NonFiniteGuard
from dltrain.callbacks.plateau import Plateau
from dltrain.callbacks.stopping import OutOfTime, Reached, StopBelow
from dltrain.devices import hosts, runtime
from dltrain.durations import Duration
from dltrain.engine.events import Callback, Every, Replace, TrainEvent
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder
from dltrain.runs.saver import RunClock, Saver

SAVING = 0.05  # maximum share of the time spent on automatic checkpoints
SKIPS = 10  # with on_nonfinite=skip, this many skipped steps in a row end the run
LEARNT = 0.01  # training loss below which an `overfit_batches` run ends

MakeEvery = Callable[..., Every]


def make_callbacks(
    program: Program,
    folder: RunFolder,
    *,
    recorder: Recorder,
    observers: Sequence[Callback],
    clock: RunClock,
    warn: Callable[[str], None],
    exchange: Exchange | None = None,
) -> tuple[list[Callback], Saver]:
    """Build the callbacks called after each chunk, in order: check, evaluate, record, show, adapt, stop, save.

    With `exchange`, the run meets others after an evaluation, and again after the save.

    `observers` show the run. `clock` counts the time of earlier segments. `warn` gets a message if an older
    checkpoint turns out to be damaged, or the monitored metric is NaN. The saver is also returned, since it saves
    the final state.
    """
    plan, parts = program.plan, program.parts
    every = partial(Every, per_epoch=parts.pipeline.steps_per_epoch)
    guard = NonFiniteGuard(limit=SKIPS if plan.skip_nonfinite else 1)
    user_defined = [every(interval, callback) for interval, callback in parts.callbacks]
    best, plateau, early_stopping = _make_monitored(program, warn)
    remembering: dict[str, Any] = {f"own.{i}": callback for i, callback in enumerate(user_defined)}
    remembering |= {"best": best, "early_stopping": early_stopping, "plateau": plateau, "nonfinite": guard}
    remembering |= {"recorder": recorder, "numbers": _Numbers(program.numbers)}
    remembering = {name: callback for name, callback in remembering.items() if callback is not None}
    saver = Saver(
        folder.files / "checkpoints",
        best,
        remembering,
        about={"versions": runtime.versions(), **folder.about, "data": parts.source.fingerprint},
        share=SAVING if plan.auto_checkpoint else None,
        defers=SAVING if program.among_others else None,
        keeps=lambda step: plan.keep_every is not None and step % plan.keep_every == 0,
        clock=clock,
        on_saved=folder.note_saved,
        holds=(lambda: exchange.held) if exchange else (lambda: ()),
        together=hosts.channel("checkpoint") if folder.shared else None,
        warn=warn,
    )
    meet, commit = _make_exchange(exchange, every, recorder, saver) if exchange else ([], [])
    evaluate = [every(plan.eval_every, Evaluate(program.evaluate, plan.splits))] if plan.splits else []
    callbacks = [
        guard,
        *evaluate,
        *meet,
        best,
        recorder,
        *observers,
        *user_defined,
        plateau,
        *_make_bounds(plan, every, saver),
        early_stopping,
        StopBelow(LEARNT, "train") if plan.overfit else None,
        *_make_saves(plan, every, saver, best),
        *commit,
    ]
    return [callback for callback in callbacks if callback is not None], saver


class _Numbers:
    """The numbers of the config, saved with each checkpoint: one that training has changed since is resumed."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = values

    def state(self) -> dict[str, float]:
        """Return them by the names of their leaves."""
        return dict(self._values)


def _make_exchange(
    exchange: Exchange, every: MakeEvery, recorder: Recorder, saver: Saver
) -> tuple[list[Callback], list[Callback]]:
    """Build the callbacks of an exchange: after the evaluation, and after all others; the last step has none."""

    def meet(event: TrainEvent) -> Replace | None:
        if event.is_last:
            return None
        answer = exchange.meet(event)
        recorder.numbers(event.step, exchange.numbers)
        return answer

    def commit(event: TrainEvent) -> None:
        if not event.is_last:
            saver.save(event.step, event.state)
            saver.wait()
            exchange.commit(event.step, saver.best_step)

    interval = Duration(exchange.steps, "")
    return [every(interval, meet, at_end=False)], [every(interval, commit, at_end=False)]


def _make_monitored(
    program: Program, warn: Callable[[str], None]
) -> tuple[Best | None, Plateau | None, EarlyStopping | None]:
    """Build the callbacks that follow the monitored metric, each only if the config asks for it."""
    plan, follows = program.plan, program.parts.plateau
    if not (monitor := plan.monitor):
        return None, None, None
    best = Best(monitor.split, monitor.name, monitor.higher_is_better, warn=warn)
    plateau = Plateau(best, follows, program.place) if follows else None
    return best, plateau, EarlyStopping(best, plan.patience, plan.min_delta) if plan.patience else None


def _make_bounds(plan: Plan, every: MakeEvery, saver: Saver) -> list[Callback]:
    """Build the callbacks that end training at a bound (`stop` in the config)."""
    stop = plan.stop
    bounds = {"gradient_norm": stop.gradient_norm, "change": stop.change}
    bounds |= {} if plan.splits else {"loss": stop.loss}
    below: list[Callback] = [Reached(name, bound) for name, bound in bounds.items() if bound is not None]
    if plan.splits and stop.loss is not None:
        below.append(StopBelow(stop.loss, plan.splits[0]))
    timed: list[Callback] = [OutOfTime(stop.seconds, lambda: saver.seconds)] if stop.seconds else []
    return [*(every(plan.eval_every, callback) for callback in below), *timed]


def _make_saves(plan: Plan, every: MakeEvery, saver: Saver, best: Best | None) -> list[Callback]:
    """Build the callbacks that save checkpoints: of each new best state, and at the intervals of the config."""

    def save(event: TrainEvent) -> None:
        saver.save(event.step, event.state)

    def save_best(event: TrainEvent) -> None:
        if best and best.improved:
            saver.save_best(event.step, event.state)

    kept = [every(Duration(plan.keep_every, ""), save, at_end=False)] if plan.keep_every else []
    return [saver.check, save_best, *(every(interval, saver) for interval in plan.save_every), *kept]

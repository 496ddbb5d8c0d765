"""The end of a run: final metrics, figures, summary.json, and the commands that come next."""

import contextlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dltrain.build.program import Program
from dltrain.data.split import NAMES
from dltrain.devices import hosts, memory
from dltrain.devices.mesh import local_state
from dltrain.engine.state import TrainState, from_named, named_leaves, state_hash
from dltrain.errors import DltrainError, Interrupted
from dltrain.places import raised_in
from dltrain.profiling.summary import summarize
from dltrain.report.baselines import baselines
from dltrain.report.closing import print_results
from dltrain.report.console import Screen, print_warning
from dltrain.report.drawing import Evaluated, Evaluations, draw
from dltrain.report.embeddings import nearest_tokens, token_embeddings
from dltrain.runs import checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.projector import write_embeddings
from dltrain.runs.restore import load_again, with_parts
from dltrain.runs.result import TrainResult
from dltrain.runs.sealed import seal
from dltrain.tree import count


@dataclass(frozen=True)
class Finished:
    """A run that was evaluated and described."""

    summary: dict[str, Any]
    draw: Callable[[], None]  # draws the figures, if they were left out


def finish(
    program: Program,
    folder: RunFolder,
    screen: Screen,
    trained: TrainResult,
    *,
    found: Evaluated | None = None,
    figures: bool = True,
    compared: Mapping[str, Any] | None = None,
) -> Finished:
    """Evaluate the final and the best state, draw the figures, write the summary, and print the results.

    If Ctrl-C ends that, say how to make up for it.

    Args:
        program: what was trained.
        folder: of the run.
        screen: where the results are shown.
        trained: how training ended.
        found: what `foresee` has found.
        figures: whether to draw figures.
        compared: metrics of the baselines, if they are known; a sweep computes them once.

    Raises:
        Interrupted, Terminated: the run was stopped by a signal. It is saved, and finished when it is resumed.
    """
    try:
        return _report(program, folder, screen, trained, found, figures=figures, compared=compared)
    except KeyboardInterrupt:
        step = trained.outcome.step
        raise Interrupted(
            f"interrupted after training: step {step} is saved; to write the report: {folder.command('resume')}"
        ) from None


def _report(
    program: Program,
    folder: RunFolder,
    screen: Screen,
    trained: TrainResult,
    found: Evaluated | None,
    *,
    figures: bool,
    compared: Mapping[str, Any] | None,
) -> Finished:
    with contextlib.closing(trained.recorder):
        _report_profile(screen, folder, trained)
        trained.raise_if_interrupted(folder)
        best_step = _best_step(folder, trained) if hosts.leads() else None
        best_step = hosts.agree(best_step, "best step") or trained.outcome.step
        if found is None or found.best_step != best_step:
            found = _evaluate(program, folder, trained, best_step)
        trained, found = _on_host(trained, found)
        if not hosts.leads():  # the others have done their part
            return Finished({}, lambda: None)
        program = program.of_one_process()
        _write_embeddings(program, folder, found.best_state)
        for split in found.final:
            if split not in program.plan.splits:
                trained.recorder.evaluation(trained.outcome.step, split, found.final[split])
        if figures:
            screen.doing("drawing")
            try:
                _try_to_draw(program, folder, found, trained)
            finally:
                screen.end_live()
        compared = try_to_compare(program, folder) if compared is None else compared
        recorded = {key: folder.about.get(key) for key in ("run", "identity")}
        state = {name: np.asarray(value) for name, value in named_leaves(trained.outcome.state).items()}
        described = {"hash": state_hash(state), "baselines": compared}
        summary = {**recorded, **_summary(program, trained, found), **described}
        folder.files.replace_json("summary.json", seal(summary))
        trained.recorder.results(trained.outcome.step, _best_results(found, summary))
        trained.recorder.writer().session_end(success=True)
    print_results(screen, folder, summary)
    return Finished(summary, _drawing(program, folder, trained, found))


def foresee(program: Program, folder: RunFolder, trained: TrainResult) -> tuple[Evaluated, Finished] | None:
    """Evaluate a run while its last state is written, and return what `finish` will return, but hash and baselines.

    None if the best state is not in memory.
    """
    best_step = trained.best_step or trained.outcome.step
    if best_step != trained.outcome.step and trained.saver.remembered(best_step) is None:
        return None
    found = _evaluate(program, folder, trained, best_step)
    return found, Finished(_summary(program, trained, found), _drawing(program, folder, trained, found))


def _drawing(program: Program, folder: RunFolder, trained: TrainResult, found: Evaluated) -> Callable[[], None]:
    return lambda: _try_to_draw(program, folder, found, trained, later=True)


def _evaluate(program: Program, folder: RunFolder, trained: TrainResult, best_step: int) -> Evaluated:
    state, step = trained.outcome.state, trained.outcome.step
    splits = [name for name in NAMES if name != "train" and len(program.parts.splits[name])]
    final = {split: program.evaluate(state, split) for split in splits}
    best_state, best = state, final
    if best_step != step:
        leaves = trained.saver.remembered(best_step)
        if leaves is None:
            leaves = with_parts(load_again(folder, best_step, state, warn=print_warning), program.wanted).leaves
        best_state = program.place(from_named(state, leaves, what=f"checkpoint of step {best_step}"))
        best = {split: program.evaluate(best_state, split) for split in splits}
    without_ema = replace(state, ema={})
    raw = {split: program.evaluate(without_ema, split) for split in splits if state.ema}
    return Evaluated(final, best, raw, best_state, best_step)


def _on_host(trained: TrainResult, found: Evaluated) -> tuple[TrainResult, Evaluated]:
    """Bring the states of several processes to the host, where process 0 goes on alone."""
    if hosts.count() == 1:
        return trained, found
    final = local_state(trained.outcome.state)
    best = final if found.best_state is trained.outcome.state else local_state(found.best_state)
    outcome = replace(trained.outcome, state=final)
    return replace(trained, outcome=outcome), replace(found, best_state=best)


def _best_step(folder: RunFolder, trained: TrainResult) -> int:
    """Return the step of the best state; if its checkpoint is damaged, warn and return the last step."""
    last, best = trained.outcome.step, trained.best_step
    if best in (None, last) or _is_whole(folder, best):
        return best or last
    print_warning(
        f"the best checkpoint, of step {best}, is damaged or missing; results are of the final state (step {last})"
    )
    return last


def _is_whole(folder: RunFolder, step: int) -> bool:
    return checkpoint.is_whole(folder.files / "checkpoints", step, warn=print_warning, mend=folder.locked)


def _summary(program: Program, trained: TrainResult, found: Evaluated) -> dict[str, Any]:
    outcome, clock, monitor = trained.outcome, trained.saver.clock, program.plan.monitor
    examples = (outcome.step - trained.first_step) * program.parts.pipeline.batch_size
    return {
        **_scalars(found.final),
        "best": _scalars(found.best),
        "best_step": found.best_step,
        "raw": _scalars(found.raw),
        "monitor": str(monitor) if monitor else None,
        "higher_is_better": bool(monitor and monitor.higher_is_better),
        "steps": outcome.step,
        "epochs": outcome.step / program.parts.pipeline.steps_per_epoch,
        "seconds": round(clock.seconds + outcome.seconds, 3),  # of all segments of the run, as the saves below
        "left_out": trained.left_out,
        "examples_per_second": round(examples / max(outcome.seconds, 1e-9), 1),
        "parameters": count(outcome.state.params),
        "stop_reason": outcome.reason,
        "saves": {"count": clock.saves, "seconds_stalled": round(clock.stalled, 4)},
        "peak_memory": memory.peak(),  # bytes
        "waiting": _waiting(program, trained),
        "skipped": trained.skipped,
        "metrics_file": trained.recorder.extent.state(),  # to be checked when it is read again
    }


def _scalars(evaluations: Evaluations) -> dict[str, Mapping[str, float]]:
    return {split: found.scalars for split, found in evaluations.items()}


def _best_results(found: Evaluated, summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of the best state, its step and the last step, as in the summary and a sweep's table."""
    metrics = {
        f"best/{split}/{name}": value
        for split, evaluation in found.best.items()
        for name, value in evaluation.scalars.items()
        if "/" not in name
    }
    return {"best/step": float(summary["best_step"]), **metrics, "final/step": float(summary["steps"])}


def _waiting(program: Program, trained: TrainResult) -> float | None:
    """Return the share of the time that training waited for data; None if data is not streamed."""
    waited = program.waited
    return None if waited is None else round(waited() / max(trained.outcome.seconds, 1e-9), 4)


def _report_profile(screen: Screen, folder: RunFolder, trained: TrainResult) -> None:
    """Print where the time of the recorded steps went, and write it to `report/profile.txt`."""
    if not (profile := trained.profile):
        return
    if not profile.recorded:
        screen.say(f"profile     nothing was recorded: {profile.problem}")
        return
    lines = summarize(profile.recorded, folder)
    (folder.files / "report").replace_text("profile.txt", "\n".join(lines) + "\n")
    screen.say("\n".join(["", *lines[:3], f"            more in {folder.report}/profile.txt"]))


def _write_embeddings(program: Program, folder: RunFolder, state: TrainState) -> None:
    """Write the token embeddings for TensorBoard's projector, and the nearest tokens to `report/neighbours.txt`.

    This comes before the test metrics: TensorBoard looks for embeddings only when a folder of events is new.
    """
    if tables := token_embeddings(program, state):
        tokens = program.parts.spec.vocabulary
        write_embeddings(folder.events, tables, tokens)
        (folder.files / "report").replace_text("neighbours.txt", nearest_tokens(tables, tokens))


def try_to_compare(program: Program, folder: RunFolder) -> dict[str, Any]:
    """Return the metrics of the baselines on test, or else on validation: split -> name -> metric -> value.

    If one cannot be evaluated, a warning says so: the results of the run do not depend on it.
    """
    split = next((split for split in ("test", "validation") if len(program.parts.splits[split])), None)
    try:
        found = baselines(program.parts, split) if split else {}
    except DltrainError:
        raise
    except Exception as error:
        folder.note(traceback.format_exc())
        first = (str(error).splitlines() or [""])[0]
        print_warning(f"warning: baselines are missing: {type(error).__name__}: {first} (more in {folder.log})")
        return {}
    return {split: found} if split and found else {}


def _try_to_draw(
    program: Program, folder: RunFolder, found: Evaluated, trained: TrainResult, *, later: bool = False
) -> None:
    """Draw the figures; if one cannot be drawn, say so: the results of the run do not depend on it."""
    try:
        draw(program, folder, found, trained, later=later)
    except DltrainError:
        raise
    except Exception as error:
        folder.note(traceback.format_exc())
        place = raised_in(error, folder.trust)
        where = f" ({place})" if place else f" (the traceback is in {folder.log})"
        first = (str(error).splitlines() or [""])[0]
        print_warning(f"warning: figures are missing: {type(error).__name__}: {first}{where}")

"""One run from a checked config: a new one, or one that goes on. Commands and `dltrain.fit` begin here."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.build.provenance import check_run, warn_of_other_bits
from dltrain.build.saved import restore_saved
from dltrain.config.alone import without_hosts
from dltrain.config.call import Composed
from dltrain.config.changes import allowed_changes, read_saved
from dltrain.config.paths import with_absolute_paths
from dltrain.devices import hosts, runtime
from dltrain.errors import ConfigError
from dltrain.inference.run_data import check_data
from dltrain.report.console import Screen, print_warning
from dltrain.report.start import introduce, prepare
from dltrain.runs import checkpoint
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder
from dltrain.runs.restore import load_together
from dltrain.runs.together import Borrowed, all_see, share
from dltrain.training import Prepared, continue_run, prepare_run, start_run, wanted_folder

Amend = Callable[[Mapping[str, Any]], Composed]
"""Returns the config to go on with, given the one that is saved."""


def train_config(
    composed: Composed, *, overrides: Sequence[str], folder: Path | None = None, label: str = ""
) -> RunFolder | None:
    """Train what a config describes, and report; return the run's folder, or None for a dry run.

    With `runtime.elastic` a run of the same config in this folder is continued.

    Args:
        composed: the config, checked.
        overrides: the words that it was composed from, to be kept with the run.
        folder: where to write, instead of the config's `output_dir`.
        label: name of the run in TensorBoard; "" for that of its folder.
    """
    elastic, dry = composed.config["runtime"]["elastic"], composed.config["dry_run"]
    with joined(composed.config["runtime"]):
        composed = without_hosts(composed)
        if elastic and not dry:
            begun, saved = _begun(composed, folder)
            if begun and saved:
                return resume_run(begun, lambda saved: composed, overrides=overrides, whole=True)
            if begun:  # it was lost before it saved anything, so overwriting loses nothing
                composed = replace(composed, config={**composed.config, "overwrite": True})
        screen = Screen(quiet=composed.config["quiet"])
        prepared = prepare_run(composed, screen, folder=folder, resumes=elastic)
        if dry:
            screen.say("dry run: nothing was trained or written")
            return None
        return start_run(prepared, screen, overrides=overrides, label=label).folder


def joined(runtime: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Join the processes that the keys of `runtime` name."""
    return hosts.joined(runtime["hosts"], heartbeat=runtime["heartbeat"])


def _begun(composed: Composed, folder: Path | None) -> tuple[RunFolder | None, bool]:
    """Return the folder of the run of this config that was begun before, if any, and whether it saved a checkpoint.

    Raises:
        ConfigError: no folder is named, or the run in it has another config.
    """
    path = folder or wanted_folder(composed.config)
    if path is None:
        raise ConfigError("runtime.elastic=true: name the run: output_dir=FOLDER, where the next start finds it")
    if composed.config["overwrite"]:
        raise ConfigError("overwrite=true: would replace the run that runtime.elastic=true continues; leave it out")
    found = RunFolder(path)
    saved = hosts.leads() and bool(checkpoint.steps(found.checkpoints) or found.newest_saved())
    begun, saved = hosts.agree([found.config.is_file(), saved], "run in the folder")
    if begun and not found.config.is_file():
        raise ConfigError(
            f"output_dir={path}: process {hosts.index()} does not see this folder, which process 0 does; "
            "runtime.elastic=true needs a folder that all processes share"
        )
    if begun:
        _check_same_run(read_saved(found.config), with_absolute_paths(composed), path)
    hosts.wait("look at the run in the folder")  # before process 0 writes there
    return (found if hosts.leads() else Borrowed(path)) if begun else None, saved


def _check_same_run(saved: Mapping[str, Any], composed: Composed, path: Path) -> None:
    try:
        allowed_changes(saved, composed.text)
    except ConfigError as error:
        raise ConfigError(f"output_dir={path}: already contains a run with another config: {error}") from error


def resume_run(folder: RunFolder, amend: Amend, *, overrides: Sequence[str], whole: bool = False) -> RunFolder:
    """Continue a run from its last checkpoint, or say that it has ended; return its folder.

    Args:
        folder: of the run; in processes that do not lead, a `Borrowed` one.
        amend: the config to go on with.
        overrides: the words that it was composed from, to be kept with the run.
        whole: every key that differs from the saved config counts as changed, not only those of `overrides`.

    Raises:
        ConfigError: a key changed that determines the result.
        CheckpointError: there is no intact checkpoint.
        DataError: the data is not what the run was trained on.
    """
    if hosts.leads():
        folder.lock()
    with folder.kept_log():
        saved, started = read_saved(folder.config), folder.read_started()
        folder.label = started.get("label", "")
        composed = with_absolute_paths(without_hosts(amend(saved)))
        config, folder.trust = composed.config, composed.trust
        changed = allowed_changes(saved, composed.text, None if whole else overrides)
        runtime.start(**config["runtime"])
        summary = hosts.agree(folder.read_summary() if hosts.leads() else {}, "summary")
        shared = all_see(folder if hosts.leads() else None)
        start = _with_last_rows(load_together(folder, shared=shared, warn=print_warning), summary)
        check_run(folder, saved, start, composed.trust, warn=print_warning)
        screen = Screen(quiet=config["quiet"])
        parts = assemble(config, composed.trust)
        check_data(folder, parts, start, warn=print_warning)
        program = Program(parts, make_plan(config, parts))
        restore_saved(folder, program.parts, program.plan, start, warn=print_warning)
        if hosts.leads():
            checkpoint.clear_drafts(folder.files / "checkpoints")
        ended = summary.get("stop_reason")
        if ended and (start.step >= program.plan.total or (ended != "all steps done" and not changed)):
            _report_finished(screen, folder, program, start.step, ended)
            return folder
        for line in changed:
            screen.say(f"changed {line}")
        introduce(screen, program, choices=started.get("choices", {}), automatic={})
        prepare(screen, program)
        _report_schedule(screen, program, start)
        warn_of_other_bits(start, warn=print_warning)
        if folder.died:
            screen.say(f"process {folder.died} was killed during this run, by a user or for lack of memory")
        screen.say(f"resumed {folder.path} at step {start.step}\n")
        prepared = Prepared(composed, program, folder.path)
        own = share(folder if hosts.leads() else None, trust=composed.trust, say=screen.say)
        own.label = folder.label
        continue_run(prepared, own, start, screen, overrides=overrides)
        own.release()
    return folder


def _with_last_rows(start: Checkpoint, summary: Mapping[str, Any]) -> Checkpoint:
    """Let a finished run answer for all of metrics.jsonl: its last rows are written after its last checkpoint."""
    if summary.get("steps") != start.step or "metrics_file" not in summary:
        return start
    recorder = {**start.meta["callbacks"].get("recorder", {}), "file": summary["metrics_file"]}
    callbacks = {**start.meta["callbacks"], "recorder": recorder}
    return replace(start, meta={**start.meta, "callbacks": callbacks})


def _report_finished(screen: Screen, folder: RunFolder, program: Program, step: int, ended: str) -> None:
    """Report that there is nothing left to train, also in a quiet run, and how to train it longer."""
    total, per_epoch = program.plan.total, program.parts.pipeline.steps_per_epoch
    done = f"{step} of {total} steps" if step <= total else f"{step} steps, and the config asks for {total}"
    screen.say(f"{folder.path} is finished: {done} ({ended})", result=True)
    epochs = 2 * max(1, round(max(step, total) / per_epoch))
    screen.say(f"train it longer with: {folder.command('resume', f'epochs={epochs}')}", result=True)


def _report_schedule(screen: Screen, program: Program, start: Checkpoint) -> None:
    planned = int(start.leaves["hparams.total_steps"])
    if planned != program.plan.total:
        if program.plan.stretch:
            screen.say(f"schedule recomputed for {program.plan.total} steps (was {planned})")
        else:
            screen.say(
                f"schedule keeps its {planned} steps, then its last value; schedule.stretch=true recomputes it"
            )
    length = program.plan.total if program.plan.stretch else planned
    if start.step < program.plan.total and not float(program.parts.schedule(start.step, length)):
        print_warning(
            f"warning: the schedule has reached a learning rate of 0 at step {start.step}: nothing is learned; "
            "schedule.stretch=true plans it again"
        )

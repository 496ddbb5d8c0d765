"""Continue a run where it stopped, or extend it: dltrain resume RUN epochs=20.

RUN is a run folder. Keys that determine the result must not change (data, model, seed, batch size); the length
of training, logging, evaluation and checkpoints may change. A schedule keeps the length it started with, unless
schedule.stretch=true recomputes it.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.build.provenance import check_run, warn_of_other_bits
from dltrain.build.saved import restore_saved
from dltrain.config.alone import without_hosts
from dltrain.config.call import Call, Composed
from dltrain.config.changes import kept_part, may_change, of_part, read_saved, typed_changes
from dltrain.config.folders import parse_yaml
from dltrain.config.paths import with_absolute_paths
from dltrain.devices import hosts, runtime
from dltrain.errors import ConfigError
from dltrain.inference.run_data import check_data
from dltrain.report.console import Screen, print_warning
from dltrain.report.start import introduce, prepare
from dltrain.runs import checkpoint
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.folder import RunFolder, existing
from dltrain.runs.restore import load_together
from dltrain.runs.together import Borrowed, all_see, share
from dltrain.training import Prepared, continue_run, joined


def run(call: Call) -> int:
    """Check that config and data are those of the run, then continue from its last checkpoint."""
    if len(call.words) != 1:
        raise ConfigError("resume: name one run folder: dltrain resume outputs/DATE/TIME-NAME")
    folder = existing(call.words[0])
    if not any(word.startswith("runtime.hosts=") for word in call.overrides):
        return _resume(call, folder)
    with joined(call.amend(read_saved(folder.config)).config["runtime"]):
        return _resume(call, folder if hosts.leads() else Borrowed(folder.path))


def _resume(call: Call, folder: RunFolder) -> int:
    if hosts.leads():
        folder.lock()
    with folder.kept_log():
        saved, started = read_saved(folder.config), folder.read_started()
        folder.label = started.get("label", "")
        composed = with_absolute_paths(without_hosts(call.amend(saved)))
        config, folder.trust = composed.config, composed.trust
        changed = _changes(saved, composed, call.overrides)
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
            return 0
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
        continue_run(prepared, own, start, screen, overrides=call.overrides)
        own.release()
    return 0


def _changes(saved: Mapping[str, Any], composed: Composed, words: Collection[str]) -> list[str]:
    """List what overrides change of the saved config.

    Raises:
        ConfigError: a key changed that determines the result.
    """
    changes = typed_changes(saved, parse_yaml(composed.text), words)
    for key in changes:
        if not may_change(key):
            raise ConfigError(
                f"{of_part(changes, key)}: a run keeps its {kept_part(key)}; start a new run, with init_from=RUN "
                "to start from the weights of this one"
            )
    return list(changes.values())


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


def _report_schedule(screen: Screen, program: Program, start: checkpoint.Checkpoint) -> None:
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

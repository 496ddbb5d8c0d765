"""Continue a run where it stopped, or extend it: dltrain resume RUN epochs=20.

RUN is a run folder. Keys that determine the result must not change (data, model, seed, batch size); the length
of training, logging, evaluation and checkpoints may change. A schedule keeps the length it started with, unless
schedule.stretch=true recomputes it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.config.call import Call, Composed
from dltrain.config.folders import read_yaml
from dltrain.config.hints import show
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.report.console import Screen, print_warning
from dltrain.report.finish import finish
from dltrain.report.live import LiveReport
from dltrain.report.start import introduce, prepare
from dltrain.runs import checkpoint
from dltrain.runs.folder import existing
from dltrain.trainer import train

MAY_CHANGE = (
    "epochs",
    "steps",
    "examples",
    "log_every",
    "eval_every",
    "eval_batch_size",
    "checkpoint_every",
    "keep_every",
    "monitor",
    "early_stopping",
    "stop",
    "name",
    "tags",
    "trust",
    "quiet",
    "profile",
    "on_nonfinite",
    "sweep",
    "metrics",
    "callbacks",
    "data.feed",
    "data.threads",
    "data.timeout",
    "runtime.platform",
    "runtime.threads",
    "runtime.deterministic",
    "runtime.cache",
    "runtime.ops",
    "runtime.matmul",
    "runtime.mesh",
    "model.remat",
    "schedule.stretch",
    "optim.learning_rate",
    "optim.weight_decay",
)


def run(call: Call) -> int:
    """Check that config and data are those of the run, then continue from its last checkpoint."""
    if len(call.words) != 1:
        raise ConfigError("resume: name one run folder: dltrain resume outputs/DATE/TIME-NAME")
    folder = existing(call.words[0])
    folder.lock()
    with folder.kept_log():
        before, started = read_yaml(folder.config), read_yaml(folder.overrides)
        folder.label = str(started.get("label", ""))
        composed = call.amend(before)
        config, folder.trust = composed.config, composed.trust
        changed = _changes(before, composed)
        runtime.start(**config["runtime"])
        screen = Screen(quiet=config["quiet"])
        parts = assemble(config, composed.trust)
        folder.check_data(parts.described())
        program = Program(parts, make_plan(config, parts))
        checkpoint.clear_drafts(folder.files / "checkpoints")
        start = checkpoint.load_last(folder.files / "checkpoints", warn=print_warning, mend=True)
        ended = folder.read_summary().get("stop_reason")
        if ended and (start.step >= program.plan.total or (ended != "all steps done" and not changed)):
            screen.say(f"{folder.path} is finished: {start.step} of {program.plan.total} steps ({ended})")
            screen.say(f"train it longer with: {folder.command('resume', f'epochs={2 * _epochs(program)}')}")
            return 0
        for line in changed:
            screen.say(f"changed {line}")
        introduce(screen, program, choices=started.get("choices", {}), automatic={})
        prepare(screen, program)
        resumed = [*started.get("resumed", []), {"step": start.step, "overrides": list(call.overrides)}]
        folder.write_config(composed.text, {**started, "resumed": resumed})
        folder.files.remove("summary.json")
        _report_schedule(screen, program, start)
        _warn_versions(start)
        if folder.died:
            screen.say(f"process {folder.died} was killed during this run, by a user or for lack of memory")
        screen.say(f"resumed {folder.path} at step {start.step}\n")
        live = LiveReport(program, folder, screen)
        finish(program, folder, screen, train(program, folder, live, start=start))
    return 0


def _changes(before: Mapping[str, Any], composed: Composed) -> list[str]:
    """List the changes to the saved config.

    Raises:
        ConfigError: a key changed that determines the result.
    """
    import yaml

    old, new = dict(_leaves(before)), dict(_leaves(yaml.safe_load(composed.text)))
    # Only groups that the run has: a run of an older dltrain lacks newer keys.
    keys = [key for key in {**old, **new} if key.split(".")[0] in before]
    different = {key: _change(key, old, new) for key in keys if old.get(key, ...) != new.get(key, ...)}
    for key, change in different.items():
        if not any(key == may or key.startswith(f"{may}.") for may in MAY_CHANGE):
            part = f"{key.split('.')[0]}._target_"  # a changed part says more than its changed options
            change = different.get(part, change)
            group = key.split(".")[0]
            whole = key.endswith("._target_") or group in ("data", "model", "loss", "schedule", "augment")
            kept = group if whole else key
            raise ConfigError(
                f"{change}: a run keeps its {kept}; start a new run, with init_from=RUN to start "
                "from the weights of this one"
            )
    return list(different.values())


def _change(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    values = (show(side[key]) if key in side else "not set" for side in (old, new))
    return f"{key}: {' -> '.join(values)}"


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, including `_target_`."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _epochs(program: Program) -> int:
    return max(1, program.plan.total // program.parts.pipeline.steps_per_epoch)


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
            f"warning: the schedule has come to a learning rate of 0 at step {start.step}: nothing will be learnt; "
            "schedule.stretch=true plans it again"
        )


def _warn_versions(start: checkpoint.Checkpoint) -> None:
    """Warn about versions that differ from those that wrote the checkpoint; old checkpoints do not have them."""
    before, now = start.about.get("versions", {}), runtime.versions()
    if others := [f"{n} {before[n]} -> {now[n]}" for n in now if n in before and before[n] != now[n]]:
        print_warning(
            f"versions differ from the checkpoint's: {', '.join(others)}; results may not be bit-identical"
        )

"""A composed config becomes a run: its parts are built and compiled, then it trains in a folder of its own.

`prepare_run` and `start_run` are apart, so that several runs can share what was built and compiled for one of them.
"""

import hashlib
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dltrain.build.folds import Folded
from dltrain.build.init_from import evaluated_leaves, with_weights
from dltrain.build.parts import Parts, assemble, with_constants
from dltrain.build.plan import Plan, make_plan
from dltrain.build.program import Program
from dltrain.build.provenance import check_no_secret, check_run, describe_run
from dltrain.build.saved import restore_saved, saved_model
from dltrain.callbacks.exchange import Exchange
from dltrain.callbacks.signals import Signals
from dltrain.config.call import Composed
from dltrain.config.changes import read_saved, swept_words
from dltrain.config.paths import with_absolute_paths
from dltrain.devices import hosts, runtime
from dltrain.devices.doctor import diagnose
from dltrain.engine.events import Callback
from dltrain.engine.state import TrainState
from dltrain.errors import CheckpointError
from dltrain.inference.run_data import check_data
from dltrain.lanes.meeting import Lane
from dltrain.report.augmented import draw_augmented
from dltrain.report.console import Screen, print_warning
from dltrain.report.describe import describe
from dltrain.report.finish import Evaluated, Finished, finish, foresee
from dltrain.report.live import LiveReport
from dltrain.report.start import introduce, prepare
from dltrain.runs import checkpoint
from dltrain.runs.checkpoint import Checkpoint
from dltrain.runs.copied import KNOWN
from dltrain.runs.folder import RunFolder, claim, existing
from dltrain.runs.graph import graph_def
from dltrain.runs.recorder import Recorder
from dltrain.runs.restore import load_best, load_newest
from dltrain.runs.result import TrainResult
from dltrain.runs.sealed import seal
from dltrain.runs.together import claim_together
from dltrain.trainer import train

Watch = Callable[[Plan], Sequence[Callback]]
"""Makes callbacks for a run of this plan."""


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls `make` at its first call only, also when several threads begin at once."""
    lock, made = threading.Lock(), []

    def get(*arguments: Any) -> Any:
        with lock:
            if not made:
                made.append(make(*arguments))
            return made[0]

    return get


def _graph_of(program: Program) -> Any:
    return graph_def(program.module, program.parts.spec)


@dataclass(frozen=True)
class Prepared:
    """A config with the program that trains it, before anything is written."""

    composed: Composed  # with absolute paths
    program: Program
    wanted: Path | None  # where to write; None: a new folder in `outputs`
    weights: RunFolder | None = None  # the run whose weights it starts from
    environment: Callable[[], Mapping[str, Any]] = field(default_factory=lambda: _once(diagnose))
    graph: Callable[[Program], Any] = field(default_factory=lambda: _once(_graph_of))  # traced once for all jobs


@dataclass(frozen=True)
class EndedRun:
    """A run that was trained to its end."""

    folder: RunFolder
    finished: Finished


def prepare_run(
    composed: Composed,
    screen: Screen,
    *,
    folder: Path | None = None,
    resumes: bool = False,
    shared: Parts | None = None,
) -> Prepared:
    """Read the data, build the parts, compile the step, and show all of that; nothing is written.

    With `resumes` the folder holds the run that is to go on. `shared` are the parts of several folds that share the
    program, if they were built before.
    """
    if hosts.count() > 1:
        own = [runtime.versions(), hashlib.sha256(composed.text.encode()).hexdigest()]
        hosts.check_same(own, "config or version")
    composed = with_absolute_paths(composed)
    config = composed.config
    runtime.start(**config["runtime"])
    wanted = folder or wanted_folder(config)
    if wanted and hosts.leads():
        RunFolder(wanted).refuse_other_folders()
    if wanted and hosts.leads() and not config["overwrite"] and not resumes and RunFolder(wanted).config.exists():
        claim(wanted, name="", overwrite=False, trust=composed.trust)  # raises before any data is read
    weights = existing(config["init_from"]) if config["init_from"] else None
    parts = with_constants(shared, config, composed.trust) if shared else assemble(config, composed.trust)
    if hosts.count() > 1:
        hosts.check_same(parts.described(), "data set")
    check_no_secret(parts.raw_spec, composed.text)
    differences = [Folded(config, composed.trust)] if shared else []
    program = Program(parts, make_plan(config, parts), differences)
    introduce(screen, program, choices=composed.choices, automatic=composed.automatic)
    prepare(screen, program)
    return Prepared(composed, program, wanted, weights)


def wanted_folder(config: Mapping[str, Any]) -> Path | None:
    """Return the folder that the config names for the run, None for a new one."""
    return Path(config["output_dir"]).expanduser() if config["output_dir"] else None


def prepare_like(
    prepared: Prepared, composed: Composed, *, folder: Path, lane: Lane | None = None, fold: Parts | None = None
) -> Prepared:
    """Prepare a run whose config differs from a prepared one in numbers and in its fold; nothing is compiled again.

    It trains alone, or as a lane among others. `fold` are the parts of its fold, where folds share the program.
    """
    composed = with_absolute_paths(composed)
    first = prepared.program
    config, trust = composed.config, composed.trust
    parts = first.differences.parts_of(fold or first.parts, config, trust)
    program = first.variant(parts, make_plan(config, parts), lane)
    return Prepared(composed, program, folder, prepared.weights, prepared.environment, prepared.graph)


def start_run(
    prepared: Prepared,
    screen: Screen,
    *,
    overrides: Sequence[str],
    label: str = "",
    signals: Signals | None = None,
    figures: bool = True,
    compared: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
    exchange: Exchange | None = None,
    foreseen: Callable[[Finished | None], None] | None = None,
) -> EndedRun:
    """Train a prepared run and report.

    Args:
        prepared: what is trained.
        screen: where it is shown.
        overrides: the words that the config was composed from, to be kept with the run.
        label: name of the run in TensorBoard; "" for that of its folder.
        signals: what ends it early; None: signals of its own, caught in the main thread.
        figures: whether to draw figures.
        compared: metrics of the baselines, if they are known.
        watch: makes callbacks besides those of the config, such as one that prunes.
        exchange: its part in a population.
        foreseen: gets the results, without hash and baselines, while the last state is written; None where they
            are not known yet.
    """
    composed, program = prepared.composed, prepared.program
    config = composed.config
    name = config["name"] or f"{composed.choices['data']}-{composed.choices['model']}"
    # Before its folder may be overwritten.
    state = _from_weights(prepared.weights, program, screen) if prepared.weights else None
    about = {"name": name, "overwrite": config["overwrite"], "trust": composed.trust}
    claimed = claim_together(prepared.wanted, **about, say=screen.say)
    claimed.label = label
    with claimed.kept_log():
        screen.say(f"folder  {claimed.path}\n")
        _write_description(prepared, overrides, claimed, label, alone=exchange is None)

        def at_start(recorder: Recorder) -> None:
            about: dict[str, Any] = {"choices": composed.choices, "text": composed.text}
            about["swept"] = swept_words(overrides, label)
            describe(recorder, program, graph=prepared.graph(program), config=config, **about)
            if figures and hosts.leads():
                draw_augmented(recorder, program, claimed)
            if exchange:
                recorder.numbers(0, exchange.numbers)

        live = LiveReport(
            program, claimed, screen, describe=at_start, watchers=watch(program.plan) if watch else ()
        )
        trains = {"state": state, "signals": signals, "exchange": exchange}
        finished = _train_and_finish(live, trains, foreseen, figures=figures, compared=compared)
    return EndedRun(claimed, finished)


def continue_run(
    prepared: Prepared,
    folder: RunFolder,
    start: Checkpoint,
    screen: Screen,
    *,
    overrides: Sequence[str] = (),
    signals: Signals | None = None,
    figures: bool = True,
    compared: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
    exchange: Exchange | None = None,
    foreseen: Callable[[Finished | None], None] | None = None,
) -> EndedRun:
    """Train on from a checkpoint of a locked folder, and report; `overrides` are what changes from now on."""
    composed, program, started = prepared.composed, prepared.program, folder.read_started()
    resumed = [*started.get("resumed", []), {"step": start.step, "overrides": list(overrides)}]
    about: dict[str, Any] = {"data": program.parts.described(), "before": start.about, "alone": exchange is None}
    folder.about = describe_run(start.about.get("run", ""), composed.text, composed.trust, **about)
    started = {key: value for key, value in started.items() if key != KNOWN}  # it is trained further
    folder.write_config(composed.text, {**started, "resumed": resumed})
    folder.files.remove("summary.json")
    live = LiveReport(program, folder, screen, watchers=watch(program.plan) if watch else ())
    trains = {"start": start, "signals": signals, "exchange": exchange}
    return EndedRun(folder, _train_and_finish(live, trains, foreseen, figures=figures, compared=compared))


def _train_and_finish(
    live: LiveReport,
    trains: Mapping[str, Any],
    foreseen: Callable[[Finished | None], None] | None,
    **how: Any,
) -> Finished:
    """Train a run and finish it; `trains` is for `train`, and `how` for `finish`."""
    found: list[Evaluated] = []

    def ended(trained: TrainResult) -> None:
        if not foreseen:
            return
        known = foresee(live.program, live.folder, trained)
        found.extend([known[0]] if known else [])
        foreseen(known[1] if known else None)

    trained = train(live.program, live.folder, live, ended=ended, **trains)
    return finish(live.program, live.folder, live.screen, trained, found=next(iter(found), None), **how)


def continue_job(
    prepared: Prepared,
    screen: Screen,
    *,
    signals: Signals | None = None,
    figures: bool = True,
    compared: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
    exchange: Exchange | None = None,
    foreseen: Callable[[Finished | None], None] | None = None,
    step: int | None = None,
) -> EndedRun:
    """Train a run of a sweep on from its last checkpoint, with the config that it started with.

    With `step` it goes back to the checkpoint of that step, and deletes later ones. `exchange` is its part in a
    population.

    Raises:
        CheckpointError: there is no intact checkpoint.
        DataError: the data is not what it was trained on.
    """
    folder, program = existing(str(prepared.wanted)), prepared.program
    folder.trust = prepared.composed.trust
    folder.lock()
    with folder.kept_log():
        folder.label = folder.read_started().get("label", "")
        if step is not None:
            checkpoint.clear(folder.files / "checkpoints", after=step)
            folder.note_saved(step)
        start = load_newest(folder, warn=print_warning)
        if step not in (None, start.step):
            raise CheckpointError(
                f"{folder.path}: the checkpoint of step {step}, to go on from, is damaged or missing"
            )
        check_run(folder, read_saved(folder.config), start, folder.trust, warn=print_warning)
        check_data(folder, program.parts, start, warn=print_warning)
        restore_saved(folder, program.parts, program.plan, start, warn=print_warning)
        checkpoint.clear_drafts(folder.files / "checkpoints")
        how: dict[str, Any] = {"signals": signals, "figures": figures, "compared": compared}
        how |= {"watch": watch, "exchange": exchange, "foreseen": foreseen}
        return continue_run(prepared, folder, start, screen, **how)


def _write_description(
    prepared: Prepared, overrides: Sequence[str], folder: RunFolder, label: str, *, alone: bool
) -> None:
    """Write config, environment, data and model of the run, before it trains."""
    composed, program = prepared.composed, prepared.program
    run = uuid.uuid4().hex
    data = program.parts.described()
    folder.about = describe_run(run, composed.text, composed.trust, data=data, alone=alone)
    started = {"overrides": list(overrides), "choices": dict(composed.choices)}
    folder.write_config(composed.text, started | ({"label": label} if label else {}))
    folder.files.replace_json("environment.json", {"seed": composed.config["seed"], **prepared.environment()})
    folder.files.replace_json("data.json", seal(data))
    folder.files.replace("splits.npz", program.parts.splits.to_npz())
    if program.parts.description and program.parts.description.bad_rows:
        folder.files.replace_text("bad_rows.csv", program.parts.description.bad_rows)
    folder.files.replace_json("model.json", seal(saved_model(program.parts, program.plan, run=run)))


def _from_weights(source: RunFolder, program: Program, screen: Screen) -> TrainState:
    """Return an initial state with the weights that another run evaluates best, where name and shape match."""
    found = load_best(source, warn=print_warning)
    state, taken, left = with_weights(program.start(), evaluated_leaves(found.leaves))
    if not taken:
        raise CheckpointError(
            f"init_from={source.path}: none of its parameters has the name and shape of one of this model"
        )
    screen.say(f"weights {len(taken)} arrays of {source.path}, step {found.step}: {', '.join(taken)}")
    if left:
        screen.say(f"        {len(left)} are initialised from scratch: {', '.join(left)}")
    return program.place(state)

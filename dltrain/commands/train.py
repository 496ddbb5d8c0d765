"""Train a model; this is what `dltrain` does without a command.

Choose parts by name (model=cnn) and options by key (optim.learning_rate=3e-4). The run folder holds its config,
curves, checkpoints and TensorBoard files; a run can be resumed from it bit for bit.
"""

from pathlib import Path

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.build.saved import saved_model
from dltrain.config.call import Call, Composed
from dltrain.devices import runtime
from dltrain.devices.doctor import diagnose
from dltrain.engine.state import TrainState, with_weights
from dltrain.errors import CheckpointError
from dltrain.report.augmented import draw_augmented
from dltrain.report.console import Screen, complain
from dltrain.report.describe import describe
from dltrain.report.finish import finish
from dltrain.report.live import LiveReport
from dltrain.report.start import introduce, prepare
from dltrain.runs.files import replace_json
from dltrain.runs.folder import RunFolder, claim, existing
from dltrain.runs.recorder import Recorder
from dltrain.runs.restore import load_best
from dltrain.trainer import train


def run(call: Call) -> int:
    """Compose the config, build the program, train and report."""
    composed = call.compose()
    config = composed.config
    runtime.start(**config["runtime"])
    screen = Screen(quiet=config["quiet"])
    wanted = call.folder or (Path(config["output_dir"]).expanduser() if config["output_dir"] else None)
    if wanted and not config["overwrite"] and RunFolder(wanted).config.exists():
        claim(wanted, name="", overwrite=False)  # raises before any data is read
    weights = existing(config["init_from"]) if config["init_from"] else None
    parts = assemble(config, composed.trust)
    name = config["name"] or f"{composed.choices['data']}-{composed.choices['model']}"
    program = Program(parts, make_plan(config, parts))
    introduce(screen, program, choices=composed.choices, automatic=composed.automatic)
    prepare(screen, program)
    if config["dry_run"]:
        screen.say("dry run: nothing was trained or written")
        return 0
    state = (
        _from_weights(weights, program, screen) if weights else None
    )  # read before its folder may be overwritten
    folder = claim(wanted, name=name, overwrite=config["overwrite"])
    with folder.kept_log():
        screen.say(f"folder  {folder.path}\n")
        _write_down(call, composed, program, folder)

        def at_start(recorder: Recorder) -> None:
            describe(recorder, program, config=config, choices=composed.choices, text=composed.text)
            draw_augmented(recorder, program, folder)

        live = LiveReport(program, folder, screen, describe=at_start)
        finish(program, folder, screen, train(program, folder, live, state=state))
    return 0


def _write_down(call: Call, composed: Composed, program: Program, folder: RunFolder) -> None:
    """Write what is known about the run before it trains."""
    folder.write_config(composed.text, {"overrides": list(call.overrides), "choices": dict(composed.choices)})
    replace_json(folder.environment, {"seed": composed.config["seed"], **diagnose()})
    replace_json(folder.data, program.parts.described())
    replace_json(folder.model, saved_model(program.parts, program.plan))


def _from_weights(source: RunFolder, program: Program, screen: Screen) -> TrainState:
    """Return an initial state with the best weights of another run, where name and shape match."""
    found = load_best(source, warn=complain)
    state, taken, left = with_weights(program.start(), found.leaves)
    if not taken:
        raise CheckpointError(f"init_from={source.path}: none of its parameters has the name and shape of one here")
    screen.say(f"weights {len(taken)} arrays of {source.path}, step {found.step}: {', '.join(taken)}")
    if left:
        screen.say(f"        {len(left)} are initialised from scratch: {', '.join(left)}")
    return program.place(state)

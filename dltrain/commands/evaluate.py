"""Measure a run's model on one of its splits: dltrain evaluate RUN split=test.

Options are split (train, validation, test, all) and checkpoint (best, last, or a step). Any other key changes the
run's own config for this evaluation, such as metrics=[accuracy,auroc].
"""

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.config.call import Call
from dltrain.config.folders import read_yaml
from dltrain.data.split import NAMES
from dltrain.devices import runtime
from dltrain.errors import ConfigError
from dltrain.report.console import Screen, complain, shown
from dltrain.runs.folder import existing
from dltrain.runs.restore import load_state


def run(call: Call) -> int:
    """Load the weights, evaluate, and print one line a split."""
    if len(call.words) != 1:
        raise ConfigError("evaluate: name one run folder: dltrain evaluate outputs/DATE/TIME-NAME")
    options = call.options
    folder = existing(call.words[0])
    composed = call.amend(read_yaml(folder.config))
    runtime.start(**composed.config["runtime"])
    parts = assemble(composed.config, composed.trust)
    folder.check_data(parts.described())
    program = Program(parts, make_plan(composed.config, parts))
    saved, step = load_state(folder, options["checkpoint"], program.shapes, warn=complain)
    state = program.place(saved)
    screen = Screen()  # the run may have been quiet; what is asked for now is the result
    screen.say(f"{folder.path}, checkpoint of step {step}")
    for split in NAMES if options["split"] == "all" else (options["split"],):
        if not len(parts.splits[split]):
            raise ConfigError(f"split={split}: this run has no {split} rows")
        result = program.evaluate(state, split)
        numbers = "  ".join(f"{n} {shown(v)}" for n, v in result.scalars.items())
        screen.say(f"{split:<10}  {len(result.rows)} rows  {numbers}")
    return 0

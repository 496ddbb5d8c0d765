"""Let a run's model write about rows of its data: dltrain generate RUN split=test rows=5.

Options are split (train, validation, test), rows, temperature (0: the likeliest token each time) and checkpoint
(best, last, or a step). Any other key changes the run's own config for this call, such as data.path=new.txt.
"""

import jax

from dltrain.assemble import assemble
from dltrain.config.call import Call
from dltrain.config.tree import read_yaml
from dltrain.engine import runtime
from dltrain.engine.folder import existing
from dltrain.errors import ConfigError
from dltrain.plan import make_plan
from dltrain.program import Program
from dltrain.report.console import Screen
from dltrain.report.written import written_about
from dltrain.training import restored
from dltrain.types import Task


def run(call: Call) -> int:
    """Load the weights, and print source, truth and what is written of each row."""
    if len(call.words) != 1:
        raise ConfigError("generate: name one run folder: dltrain generate outputs/DATE/TIME-NAME")
    options = call.compose("generate").config
    folder = existing(call.words[0])
    composed = call.amend(read_yaml(folder.config))
    runtime.start(**composed.config["runtime"])
    parts = assemble(composed.config, composed.trust)
    if parts.spec.task is not Task.GENERATION:
        raise ConfigError(f"generate: {folder.path} is a run of task={parts.spec.task}, which writes nothing")
    folder.check_data(parts.described())
    program = Program(parts, make_plan(composed.config, parts))
    state, step = restored(program, folder, options["checkpoint"])
    split, temperature = options["split"], options["temperature"]
    rows = parts.splits[split][: options["rows"]]
    if not len(rows):
        raise ConfigError(f"split={split}: this run has no {split} rows")
    drawn = {"key": jax.random.key(program.plan.seed), "temperature": temperature} if temperature else {}
    screen = Screen()
    screen.say(f"{folder.path}, checkpoint of step {step}")
    for one in written_about(program, state, rows, **drawn):
        screen.say(f"row {one.row}" + (f"\n  source   {one.source}" if one.source else ""))
        screen.say(f"  truth    {one.truth}\n  written  {one.text}", style=None if one.right else "red")
    return 0

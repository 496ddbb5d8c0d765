"""Let a run's model write: dltrain generate RUN prompt="To be" tokens=200, or split=test rows=5 of captions.

A language model writes count texts on from the prompt (options prompt, tokens, top_k, count). A model that writes
about rows of its data is shown rows of a split (options split, rows). For both: temperature (0: the likeliest token
each time), seed and checkpoint (best, last, or a step). Any other key changes the run's own config for this call.
"""

from collections.abc import Mapping
from typing import Any

import jax

from dltrain.assemble import assemble
from dltrain.config.call import Call
from dltrain.config.tree import read_yaml
from dltrain.engine import runtime
from dltrain.engine.folder import existing
from dltrain.engine.state import TrainState
from dltrain.errors import ConfigError
from dltrain.plan import make_plan
from dltrain.program import Program
from dltrain.report.console import Screen, complain
from dltrain.report.text import TEMPERATURE, numbers_of, writes_text, written_on
from dltrain.report.written import written_about
from dltrain.training import restored
from dltrain.types import Task

BETWEEN = "-" * 20  # two texts


def run(call: Call) -> int:
    """Load the weights, and print what the model writes; everything else goes to stderr."""
    if len(call.words) != 1:
        raise ConfigError("generate: name one run folder: dltrain generate outputs/DATE/TIME-NAME")
    options = call.compose("generate").config
    folder = existing(call.words[0])
    composed = call.amend(read_yaml(folder.config))
    runtime.start(**composed.config["runtime"])
    parts = assemble(composed.config, composed.trust)
    program = Program(parts, make_plan(composed.config, parts))
    if writes_text(program):
        numbers_of(options["prompt"], parts.spec.vocabulary)  # refused before the weights are read
    elif parts.spec.task is not Task.GENERATION:
        raise ConfigError(
            f"generate: {folder.path} is a run of task={parts.spec.task}, which writes nothing; language models do "
            "(rnn, lstm, gru and transformer of a text), and captioner and seq2seq"
        )
    elif options["prompt"] is not None:
        raise ConfigError("prompt: this run's model writes about rows of its data: split=test rows=5")
    folder.check_data(parts.described())
    state, step = restored(program, folder, options["checkpoint"])
    complain(f"{folder.path}, checkpoint of step {step}")
    show = _texts if writes_text(program) else _rows
    show(program, state, options)
    return 0


def _texts(program: Program, state: TrainState, options: Mapping[str, Any]) -> None:
    names = ("tokens", "top_k", "seed", "count")
    temperature = TEMPERATURE if options["temperature"] is None else options["temperature"]
    given = {name: options[name] for name in names}
    for i, text in enumerate(written_on(program, state, options["prompt"], temperature=temperature, **given)):
        print(f"{BETWEEN}\n{text}" if i else text)


def _rows(program: Program, state: TrainState, options: Mapping[str, Any]) -> None:
    split, temperature = options["split"], options["temperature"]
    rows = program.parts.splits[split][: options["rows"]]
    if not len(rows):
        raise ConfigError(f"split={split}: this run has no {split} rows")
    drawn = {"key": jax.random.key(options["seed"]), "temperature": temperature} if temperature else {}
    screen = Screen()
    for one in written_about(program, state, rows, **drawn):
        screen.say(f"row {one.row}" + (f"\n  source   {one.source}" if one.source else ""))
        screen.say(f"  truth    {one.truth}\n  written  {one.text}", style=None if one.right else "red")

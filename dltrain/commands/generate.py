"""Let a run's model write or draw: dltrain generate RUN prompt="To be" tokens=200, split=test rows=5, or count=64.

A language model writes count texts on from the prompt (options prompt, tokens, temperature, top_k, count). A model
that writes about rows of its data is shown rows of a split (split, rows, temperature). A model that draws examples
from noise (gan, dcgan, rbm) writes count of them to an .npz (array `generated`, in the units of the data) and a
figure next to it (count, output; null: report/generated_seed_N.npz of the run). For all: seed and checkpoint (best,
last, or a step). A temperature of 0 takes the likeliest token each time. Any other key changes the run's own config
for this call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.config.call import Call
from dltrain.config.folders import read_yaml
from dltrain.devices import runtime
from dltrain.engine.state import TrainState
from dltrain.errors import ConfigError
from dltrain.inference.generate import draws, sample, writes_text
from dltrain.report.console import Screen, complain
from dltrain.report.sampling import default_count, save_samples
from dltrain.report.text import TEMPERATURE, numbers_of, written_on
from dltrain.report.written import written_about
from dltrain.runs.folder import RunFolder, existing
from dltrain.runs.restore import load_state
from dltrain.types import Task

BETWEEN = "-" * 20  # two texts
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """How a kind of model is let do its work: in words for who asks otherwise, and which options it takes."""

    words: str
    takes: tuple[str, ...]
    check: Callable[[Program, Options], None]  # before the weights are read
    show: Callable[[Program, RunFolder, TrainState, Options], None]


def run(call: Call) -> int:
    """Load the weights, and show what the model makes; which run it was goes to stderr."""
    if len(call.words) != 1:
        raise ConfigError("generate: name one run folder: dltrain generate outputs/DATE/TIME-NAME")
    options = call.options
    folder = existing(call.words[0])
    composed = call.amend(read_yaml(folder.config))
    runtime.start(**composed.config["runtime"])
    parts = assemble(composed.config, composed.trust)
    program = Program(parts, make_plan(composed.config, parts))
    way = _way(program, folder)
    typed = [word.partition("=")[0] for word in call.overrides]
    if strange := [key for key in typed if key in options and key not in (*way.takes, "seed", "checkpoint")]:
        raise ConfigError(f"{strange[0]}: this run's model {way.words}")
    way.check(program, options)
    folder.check_data(parts.described())
    saved, step = load_state(folder, options["checkpoint"], program.shapes, warn=complain)
    complain(f"{folder.path}, checkpoint of step {step}")
    way.show(program, folder, program.place(saved), options)
    return 0


def _way(program: Program, folder: RunFolder) -> Way:
    task = program.parts.spec.task
    if draws(program):
        return Way("draws examples from noise: count=64 seed=0", ("count", "output"), _check_examples, _examples)
    if writes_text(program):
        takes = ("prompt", "tokens", "temperature", "top_k", "count")
        return Way("writes on from a prompt: prompt='To be' tokens=200", takes, _check_texts, _texts)
    if task is Task.GENERATION:
        takes = ("split", "rows", "temperature")
        return Way("writes about rows of its data: split=test rows=5", takes, _check_rows, _rows)
    raise ConfigError(
        f"generate: {folder.path} is a run of task={task}, which writes nothing; language models do "
        "(rnn, lstm, gru and transformer of a text), and captioner, seq2seq and seq2seq_transformer; "
        "gan, dcgan and rbm draw examples"
    )


def _check_examples(program: Program, options: Options) -> None:
    if options["output"] is not None and Path(options["output"]).suffix != ".npz":
        raise ConfigError(f"output={options['output']}: must end in .npz; the picture lies beside it, as .png")


def _examples(program: Program, folder: RunFolder, state: TrainState, options: Options) -> None:
    made = sample(program, state, options["count"] or default_count(program), seed=options["seed"])
    default = folder.report / f"generated_seed_{options['seed']}.npz"
    path = Path(options["output"]).expanduser() if options["output"] else default
    figure, screen = save_samples(program, made, path), Screen()
    screen.say(f"generated {len(made)} examples of {list(made.shape[1:])}, in the units of the data")
    screen.say(f"figure    {figure}\nvalues    {path} (array generated)")


def _check_texts(program: Program, options: Options) -> None:
    numbers_of(options["prompt"], program.parts.spec.vocabulary)


def _texts(program: Program, folder: RunFolder, state: TrainState, options: Options) -> None:
    temperature = TEMPERATURE if options["temperature"] is None else options["temperature"]
    given = {name: options[name] for name in ("tokens", "top_k", "seed")} | {"count": options["count"] or 1}
    for i, text in enumerate(written_on(program, state, options["prompt"], temperature=temperature, **given)):
        print(f"{BETWEEN}\n{text}" if i else text)


def _check_rows(program: Program, options: Options) -> None:
    if not len(program.parts.splits[options["split"]]):
        raise ConfigError(f"split={options['split']}: this run has no {options['split']} rows")


def _rows(program: Program, folder: RunFolder, state: TrainState, options: Options) -> None:
    temperature = options["temperature"]
    rows = program.parts.splits[options["split"]][: options["rows"]]
    drawn = {"key": jax.random.key(options["seed"]), "temperature": temperature} if temperature else {}
    screen = Screen()
    for one in written_about(program, state, rows, **drawn):
        screen.say(f"row {one.row}" + (f"\n  source   {one.source}" if one.source else ""))
        screen.say(f"  truth    {one.truth}\n  written  {one.text}", style=None if one.right else "red")

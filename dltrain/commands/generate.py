"""Generate text or samples: dltrain generate RUN prompt="To be" tokens=200, split=test examples=5, or count=64.

A language model continues the prompt, count times (options prompt, tokens, temperature, top_k, count). A model that
generates a sequence from each example takes examples of a split (split, examples, temperature). A model that
generates examples from noise (gan, dcgan, rbm) saves count of them to an .npz (array `generated`, in the units of
the data) and a figure next to it (count, output; null: report/generated_seed_N.npz of the run). All take seed and
checkpoint (best, last, or a step). A temperature of 0 takes the most likely token each time. Any other key changes
the run's own config for this call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.config.call import Call
from dltrain.errors import ConfigError, DataError
from dltrain.inference.abilities import draws_samples, generates_from_inputs, generates_text
from dltrain.inference.bundle import Bundle, drawing
from dltrain.inference.called import called_run
from dltrain.inference.run import Run
from dltrain.report.console import Screen, print_warning
from dltrain.report.generated import generate_for
from dltrain.report.sampling import TABLE_ROWS, default_count, save_samples
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder
from dltrain.types import Kind, content

BETWEEN = "-" * 20  # between two texts
Options = Mapping[str, Any]
IN_PYTHON = "in Python, dltrain.open_run(RUN).generate(inputs) takes any inputs"


@dataclass(frozen=True)
class Mode:
    """How a kind of model generates: a description for messages, and the options that it takes."""

    words: str
    takes: tuple[str, ...]
    show: Callable[[Run, Options], None]


def run(call: Call) -> int:
    """Open the run and show what the model generates; run and step go to stderr."""
    options, opened = call.options, called_run(call, "generate", warn=print_warning)
    folder = opened.folder
    way = _mode(opened.bundle, folder)
    typed = [word.partition("=")[0] for word in call.overrides]
    if strange := [key for key in typed if key in options and key not in (*way.takes, "seed", "checkpoint")]:
        raise ConfigError(f"{strange[0]}: this run's model {way.words}")
    print_warning(f"{folder.path}, checkpoint of step {opened.step}")
    way.show(opened, options)
    return 0


def _mode(bundle: Bundle, folder: RunFolder) -> Mode:
    spec, module = bundle.spec, bundle.module
    if draws_samples(module):
        return Mode("generates examples from noise: count=64 seed=0", ("count", "output"), _samples)
    if generates_text(spec, module):
        takes = ("prompt", "tokens", "temperature", "top_k", "count")
        return Mode("continues a prompt: prompt='To be' tokens=200", takes, _texts)
    if generates_from_inputs(spec, module):
        takes = ("split", "examples", "temperature")
        return Mode("generates sequences from examples of its data: split=test examples=5", takes, _from_split)
    raise ConfigError(
        f"generate: {folder.path} is a run of task={spec.task}, which does not generate; language models "
        "(rnn, lstm, gru and transformer on a text), captioner, seq2seq and seq2seq_transformer generate text, and "
        "gan, dcgan and rbm generate examples"
    )


def _samples(run: Run, options: Options) -> None:
    if options["output"] is not None and Path(options["output"]).suffix != ".npz":
        raise ConfigError(f"output={options['output']}: must end in .npz; the figure is saved next to it, as .png")
    spec, screen = run.bundle.raw_spec, Screen()
    samples = run.bundle.sample(options["count"] or default_count(spec), seed=options["seed"])
    path = Path(options["output"] or f"generated_seed_{options['seed']}.npz").expanduser()
    folder = Files(path.parent) if options["output"] else run.folder.files / "report"
    real = None if spec.input.kind is Kind.IMAGE else _training_examples(run)
    caption = f"generated, checkpoint of step {run.step:,}, seed {options['seed']}"
    figure = save_samples(samples, folder, path.name, spec, real, caption=caption)
    screen.say(f"generated {len(samples)} examples of {list(samples.shape[1:])}, in the units of the data")
    screen.say(f"figure    {figure}\nvalues    {folder.path / path.name} (array generated)")


def _training_examples(run: Run) -> Any:
    """Read training examples to draw next to samples of tables; warn and return None if they cannot be read."""
    try:
        parts = run.data(reason="comparing samples", instead="the figure shows samples only")
    except DataError as error:
        print_warning(str(error))
        return None
    return content(parts.source.read(parts.splits.train[:TABLE_ROWS]), parts.raw_spec)


def _texts(run: Run, options: Options) -> None:
    given = {name: options[name] for name in ("prompt", "tokens", "temperature", "top_k", "seed")}
    for i, text in enumerate(run.bundle.generate(**given, count=options["count"] or 1)):
        print(f"{BETWEEN}\n{text}" if i else text)


def _from_split(run: Run, options: Options) -> None:
    split = options["split"]
    parts = run.data(reason=f"generate split={split}", instead=IN_PYTHON)
    examples = parts.splits[split][: options["examples"]]
    if not len(examples):
        raise ConfigError(f"split={split}: this run has no {split} examples")
    screen, drawn = Screen(), drawing(options["temperature"], options["seed"])
    for one in generate_for(run.bundle, parts.source.read(examples), examples, **drawn):
        screen.say(f"example {one.example}" + (f"\n  source     {one.source}" if one.source else ""))
        screen.say(f"  truth      {one.truth}\n  generated  {one.text}", style=None if one.right else "red")

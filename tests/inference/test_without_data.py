"""Without its training data, a run evaluates given examples and generates as before."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dltrain as package
from dltrain.build import data as build_data
from dltrain.build.parts import assemble
from dltrain.composition.compose import amend_words
from dltrain.config.folders import read_yaml
from dltrain.errors import ConfigError, DataError
from dltrain.report import finish
from dltrain.types import Kind

pytestmark = pytest.mark.usefixtures("quickly_compiled")

TEXT = ("data=characters", "data.path=text", "data.length=8", "data.test=0.1", "model.hidden=8")
QUIET = ("quiet=true", "epochs=1", "output_dir=run", "optim.learning_rate=0.01")
KINDS = {
    "language": (*TEXT, "model=rnn"),
    "stateful": (*TEXT, "model=gru", "model.stateful=true", "batch_size=16", "optim.ema=0.9"),
    "translation": ("data=reverse", "data.examples=60", "data.longest=5", "model=seq2seq", "model.hidden=8"),
    "captions": (
        "data=small_captions",
        "model=captioner",
        "model.channels=[4]",
        "model.dense=[]",
        "limit_batches=2",
    ),
    "classes": ("data=digits", "model=cnn", "model.channels=[4]", "model.norm=batch", "limit_batches=4"),
    "regression": ("data=diabetes", "model=mlp", "model.widths=[8]", "data.feed=streamed"),
    "samples": ("data=iris", "model=gan", "model.widths=[4]", "optim=schedule_free"),
}


@dataclass
class Before:
    """Results from before the data was removed."""

    folder: Path
    batch: dict[str, Any]  # of the test split, as the source has it
    summary: dict[str, Any]
    found: dict[str, Any] = field(default_factory=dict)


def found_by(run, kind: str, batch: dict[str, Any]) -> dict[str, Any]:
    """Use the model of a run in every way that needs no data."""
    match kind:
        case "language" | "stateful":
            return {"texts": run.generate(prompt="to be", tokens=20, count=2, seed=3)}
        case "translation":
            return {"texts": run.generate(batch["inputs"]), "weights": run.attention(batch["inputs"])}
        case "captions":
            return {"texts": run.generate(batch["inputs"])}
        case "samples":
            return {"samples": run.sample(7, seed=1)}
        case _:
            return {"outputs": run.outputs(batch["inputs"])}


SLOW = ("stateful", "translation", "captions", "classes", "samples")  # the others are of the same kinds of question
PARAMS = [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in KINDS]


@pytest.fixture(scope="module", params=PARAMS)
def gone(request, dltrain, tmp_path_factory):
    """A run whose data is removed after its model was used once: (kind, results from before)."""
    cwd = tmp_path_factory.mktemp(request.param)
    (cwd / "text").write_text("to be or not to be, that is the question\n" * 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(finish, "draw", lambda *args, **options: None)
        result = dltrain(*KINDS[request.param], *QUIET)
        assert result.code == 0, result.err
        composed = amend_words(read_yaml(cwd / "run" / "config.yaml"))
        parts = assemble(composed.config)
        batch = parts.source.read(parts.splits.test)
        summary = json.loads((cwd / "run" / "summary.json").read_text())
        before = Before(cwd / "run", batch, summary["best"]["test"])
        before.found = found_by(package.open_run(cwd / "run"), request.param, batch)

        def missing(node, *, path, **options):
            raise DataError(f"{path}: the data was moved away")

        (cwd / "text").unlink()
        patch.setattr(build_data, "build", missing)
        yield request.param, before


def test_given_examples_are_evaluated_as_the_run_evaluated_them(gone):
    _, before = gone
    run, batch = package.open_run(before.folder), before.batch
    for_loss = {name: batch[name] for name in run.spec.for_loss}
    found = run.evaluate(inputs=batch["inputs"], targets=batch["targets"], **for_loss)
    assert {name: value for name, value in found.items() if not isinstance(value, np.ndarray)} == before.summary


def test_it_generates_as_before(gone):
    kind, before = gone
    found = found_by(package.open_run(before.folder), kind, before.batch)
    assert found.keys() == before.found.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, before.found[name])


def test_the_commands_report_what_is_missing_or_need_no_data(gone, dltrain):
    kind, before = gone
    result = dltrain("evaluate", str(before.folder))
    assert result.code == 3
    assert f"evaluate needs the data of {before.folder}, which cannot be read: data: the data was" in result.err
    assert "dltrain.open_run(RUN).evaluate(inputs=..., targets=...) takes any examples" in result.err
    match kind:
        case "language" | "stateful":
            result = dltrain("generate", str(before.folder), "prompt=to be", "tokens=20", "count=2", "seed=3")
            assert result.code == 0 and result.out.splitlines()[0] == before.found["texts"][0].splitlines()[0]
        case "translation" | "captions":
            result = dltrain("generate", str(before.folder), "split=test", "examples=2")
            assert result.code == 3 and "generate split=test needs the data of" in result.err
            assert "dltrain.open_run(RUN).generate(inputs) takes any inputs" in result.err
        case "samples":
            result = dltrain("generate", str(before.folder), "count=5")
            assert result.code == 0 and "generated 5 examples of [4]" in result.out
            assert "the figure shows samples only" in result.err
        case _:
            assert dltrain("generate", str(before.folder)).code == 2


def refusals(run, kind: str, batch: dict[str, Any]) -> list[tuple[Any, type[Exception], str]]:
    """List the calls that a model of this kind refuses: (call, exception, message)."""
    found: dict[str, list[tuple[Any, type[Exception], str]]] = {
        "classes": [
            (
                lambda: run.outputs(batch["inputs"][:, :, 0, 0]),
                DataError,
                r"inputs: image 0 is uint8 \[8\], expected uint8 \[H, W\] or \[H, W, C\]",
            ),
            (lambda: run.outputs(batch["inputs"][:0]), DataError, "there are no examples"),
            (lambda: run.outputs(batch["inputs"] + 0.5), DataError, "expected uint8 .* found float64"),
        ],
        "regression": [(lambda: run.evaluate(), ConfigError, "give either a split, or inputs and targets")],
        "language": [
            (lambda: run.generate(prompt="X"), ConfigError, "'X': not in the vocabulary of the model"),
            (lambda: run.generate(batch["inputs"]), ConfigError, "generates text from a prompt"),
        ],
        "translation": [
            (lambda: run.generate(prompt="ab"), ConfigError, "generates text from inputs"),
            (lambda: run.generate(["abcdabcda"]), DataError, "a text has 9 tokens, more than the 5 of training"),
            (
                lambda: run.evaluate(inputs=batch["inputs"], targets=batch["targets"]),
                DataError,
                "loss_mask: missing; the training data has it for the loss",
            ),
        ],
        "samples": [(lambda: run.generate(prompt="a"), ConfigError, "does not generate text; use sample")],
    }
    return [(lambda: run.outputs({"odd": 1}), DataError, "inputs: odd is not known"), *found.get(kind, [])]


def test_what_does_not_fit_the_model_is_reported(gone):
    kind, before = gone
    for call, error, message in refusals(package.open_run(before.folder), kind, before.batch):
        with pytest.raises(error, match=message):
            call()


def test_texts_are_turned_into_tokens_and_padded(gone):
    kind, before = gone
    if kind == "translation":
        run, inputs = package.open_run(before.folder), before.batch["inputs"]
        words, tokens = run.spec.input.vocabulary, inputs[run.spec.input_name]
        lengths = inputs[run.spec.only(Kind.LENGTH)]
        texts = ["".join(words[i] for i in row[:n]) for row, n in zip(tokens, lengths, strict=True)]
        assert run.generate(texts) == before.found["texts"]

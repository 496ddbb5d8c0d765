"""Text generated from examples is evaluated, drawn and printed, and is the same everywhere."""

import json
import re

import numpy as np
import pytest

from dltrain import training
from dltrain.build.program import Program
from dltrain.runs.folder import existing
from dltrain.runs.restore import load_state

pytestmark = pytest.mark.usefixtures("quickly_compiled")

WORDS = ("data=small_captions", "model=captioner", "model.channels=[8]", "model.dense=[]", "model.hidden=32")
LEARNING = ("epochs=3", "optim.learning_rate=0.01", "data.scale=unit", "quiet=true")


@pytest.fixture(scope="module")
def run(dltrain, tmp_path_factory):
    """A captioner that is sometimes right, and its program."""
    folder = tmp_path_factory.mktemp("written") / "run"
    with pytest.MonkeyPatch.context() as patch:
        made = []
        patch.setattr(training, "Program", lambda *args: made.append(Program(*args)) or made[-1])
        result = dltrain(*WORDS, *LEARNING, f"output_dir={folder}")
    assert result.code == 0, result.err
    return folder, made[0]


@pytest.fixture(scope="module")
def summary(run):
    return json.loads((run[0] / "summary.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_exact_match_is_the_share_of_examples_without_a_mistake_under_teacher_forcing(run, summary):
    """Greedy generation first differs from the truth at the first token that is wrong after true ones."""
    folder, program = run
    state, step = load_state(existing(str(folder)), "best", program.shapes, warn=print)
    assert step == summary["best_step"]
    rows = program.examples("test")
    logits, truth = program.outputs(state, rows), program.parts.source.read(rows)
    right = (logits.argmax(-1) == truth["targets"]) | ~truth["loss_mask"]
    expected = right.all(1).mean()
    assert 0.1 < expected < 0.9, "the fixture must be trained longer or shorter"
    assert summary["best"]["test"]["exact_match"] == pytest.approx(expected, abs=1e-6)
    counted = truth["loss_mask"]
    assert summary["best"]["test"]["teacher_forced_accuracy"] == pytest.approx(right[counted].mean(), abs=1e-6)
    assert summary["monitor"] == "validation/exact_match"


def test_examples_are_printed_with_true_and_generated_text(run, summary, dltrain):
    folder, program = run
    count = len(program.examples("test"))
    result = dltrain("generate", str(folder), f"examples={count}")
    assert result.code == 0, result.err
    found = re.findall(r"^example (\d+)\n  truth      (.*)\n  generated  (.*)$", result.out, flags=re.M)
    assert [int(row) for row, *_ in found] == program.examples("test").tolist()
    right = np.mean([truth == written for _, truth, written in found])
    assert right == pytest.approx(summary["best"]["test"]["exact_match"], abs=1e-6)
    drawn = dltrain("generate", str(folder), f"examples={count}", "temperature=3").out
    again = dltrain("generate", str(folder), f"examples={count}", "temperature=3").out
    assert drawn == again != result.out


def test_images_are_drawn_with_their_generated_captions(run):
    assert (run[0] / "report" / "samples.png").stat().st_size > 10_000


def test_what_cannot_be_generated_is_refused(dltrain, digits_run, run):
    result = dltrain("generate", str(digits_run.folder))
    assert result.code == 2 and "is a run of task=classification, which does not generate; language " in result.err
    assert "models (rnn, lstm, gru and transformer" in result.err
    result = dltrain("generate", str(run[0]), "count=3")
    assert (
        result.code == 2
        and "count: this run's model generates sequences from examples of its data: split=test examples=5"
        in result.err
    )
    result = dltrain("generate", str(run[0]), "split=all")
    assert result.code == 2 and "split=all: must be one of train, validation, test" in result.err
    result = dltrain("data=small_captions", "dry_run=true")
    assert result.code == 2
    assert "for task=generation try model=captioner or model=seq2seq or model=seq2seq_transformer" in result.err
    result = dltrain("data=small_captions", "model=seq2seq", "dry_run=true")
    assert (
        result.code == 2 and "generates sequences from texts, but this data is images for generation" in result.err
    )

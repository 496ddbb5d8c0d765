"""A language model of a repetitive text continues any part of it; invalid options are refused."""

import json
import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from dltrain.runs import checkpoint

pytestmark = pytest.mark.usefixtures("quickly_compiled")

VERSE = "a rose, is a rose (is it?)\n"
WORDS = ("data=characters", "data.path=verse.txt", "data.length=20", "data.stride=3", "batch_size=32")
LEARNING = ("optim.learning_rate=0.02", "epochs=6", "eval_every=3ep", "output_dir=run", "quiet=true")


@pytest.fixture(scope="module")
def run(dltrain, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("texts")
    (cwd / "verse.txt").write_text(VERSE * 120)
    result = dltrain(*WORDS, "model=gru", "model.hidden=24", "model.embedding=8", *LEARNING, cwd=cwd)
    assert result.code == 0, result.err
    return cwd


@pytest.fixture(scope="module")
def generate(dltrain, run):
    return lambda *words: dltrain("generate", "run", *words, cwd=run)


def test_it_continues_the_prompt_and_prints_nothing_else_to_stdout(generate):
    result = generate("prompt=a rose, is", "tokens=60", "temperature=0")
    assert result.code == 0, result.err
    assert result.out == (VERSE * 5)[: len("a rose, is") + 60] + "\n"
    assert re.search(r"run, checkpoint of step \d+\n$", result.err)


def test_without_a_prompt_it_begins_a_line(generate):
    assert generate("tokens=30", "temperature=0").out == (VERSE * 2)[:30] + "\n"


def test_the_same_seed_generates_the_same(generate):
    three = ("temperature=3", "tokens=50", "count=3", "prompt=rose")
    drawn = [generate(*three, f"seed={seed}").out for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    texts = drawn[0].split("-" * 20 + "\n")
    assert len(set(texts)) == 3 and all(text.startswith("rose") and len(text) == 55 for text in texts)
    assert generate("temperature=3", "tokens=50", "top_k=1").out == generate("temperature=0", "tokens=50").out


def test_a_sample_is_shown_while_it_is_trained_and_kept_at_the_end(run):
    text = (run / "run" / "report" / "sample.txt").read_text()
    assert len(text) == 300 and text.count("rose") > 15
    events = EventAccumulator(str(run / "run" / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    shown = [tensor_util.make_ndarray(e.tensor_proto).item().decode() for e in events.Tensors("sample")]
    assert len(shown) == 2 and "    a rose, is a rose" in shown[-1]


def test_token_embeddings_are_written_for_the_projector_and_their_neighbours_listed(run):
    place, tokens = run / "run" / "tensorboard", sorted(set(VERSE))
    table = np.loadtxt(place / "embedding.tsv", delimiter="\t")
    best = json.loads((run / "run" / "summary.json").read_text())["best_step"]
    found = checkpoint.load(run / "run" / "checkpoints", best)
    np.testing.assert_allclose(table, found.leaves["params.embedding.table"], rtol=1e-6)
    assert (place / "tokens.tsv").read_text().splitlines() == ["'\\n'", "' '", *tokens[2:]]
    assert 'tensor_path: "embedding.tsv"' in (place / "projector_config.pbtxt").read_text()
    lines = (run / "run" / "report" / "neighbours.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines[3:]] == tokens[2:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prompt=A röse",), "prompt: 'A', 'ö': not in the vocabulary of the model, which has '\\n (),?"),
        (("temperature=-1",), "temperature=-1: must be a finite number ≥ 0, or null"),
        (("tokens=0",), "tokens=0: must be a whole number ≥ 1"),
        (("split=all",), "split=all: must be one of train, validation, test"),
        (("examples=3",), "examples: this run's model continues a prompt: prompt='To be' tokens=200"),
    ],
)
def test_what_cannot_be_is_refused(generate, words, message):
    result = generate(*words)
    assert (result.code, result.out) == (2, "") and message in result.err

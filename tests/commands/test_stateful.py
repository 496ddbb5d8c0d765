"""Stateful training: a resumed run equals an uninterrupted one, and evaluation keeps the state, too."""

import json
import re

import jax
import numpy as np
import pytest
from flax import nnx

from dltrain.models.rnn import GRU
from dltrain.report import finish
from dltrain.runs import checkpoint
from dltrain.tasks import Language
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.usefixtures("quickly_compiled")

TEXT = "a rose, is a rose (is it?)\n" * 120
WORDS = ("data=characters", "data.path=verse.txt", "data.length=8", "batch_size=16")
MODEL = ("model=gru", "model.stateful=true", "model.hidden=8", "model.embedding=4", "optim.learning_rate=0.02")
RUN = (*WORDS, *MODEL, "eval_every=17", "quiet=true")  # 23 steps an epoch, the last with padding


@pytest.fixture(scope="module", autouse=True)
def _without_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "draw", lambda *args, **options: None)
        yield


@pytest.fixture(scope="module")
def cwd(dltrain, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("streams")
    (cwd / "verse.txt").write_text(TEXT)
    result = dltrain(*RUN, "steps=51", "output_dir=straight", cwd=cwd)
    assert result.code == 0, result.err
    return cwd


@pytest.mark.slow
def test_a_run_cut_within_an_epoch_and_fed_otherwise_ends_with_the_same_hash(dltrain, cwd):
    assert dltrain(*RUN, "steps=34", "output_dir=cut", cwd=cwd).code == 0
    saved = checkpoint.load(cwd / "cut/checkpoints", 34).leaves
    assert np.abs(saved["model_state.recurrent_state.states"]).min() > 0
    begin = np.array([0, *np.cumsum([23] * 12 + [22] * 3)])  # of the streams: 364 windows over 16
    assert saved["model_state.recurrent_state.ends"].tolist() == (8 * (begin + 34 - 23)).tolist()
    result = dltrain("resume", "cut", "steps=51", "data.feed=streamed", cwd=cwd)
    assert result.code == 0, result.err
    cut, straight = (dltrain("hash", run, cwd=cwd).out for run in ("cut", "straight"))
    assert cut == straight


@pytest.mark.slow
def test_evaluation_reads_sixteen_windows_in_one_go_whatever_the_batch(dltrain, cwd):
    words = tuple(sorted(set(TEXT)))
    window = Feature(Kind.TOKENS, (8,), "int32", vocabulary=words)
    spec = Spec({"text": window}, {"next": window}, Language())
    leaves = checkpoint.load(cwd / "straight/checkpoints", 51).leaves
    model = GRU(8, spec=spec, rngs=nnx.Rngs(0), embedding=4)
    nnx.update(model, _nested({n.removeprefix("params."): v for n, v in leaves.items() if n.startswith("params.")}))
    codes = np.array([words.index(c) for c in TEXT], np.int32)
    held = codes[len(codes) - round(len(codes) * 0.1) :]
    count = (len(held) - 1) // 8
    losses = []
    for begin in range(0, count, 16):
        steps = 8 * min(16, count - begin)
        text = held[8 * begin : 8 * begin + steps + 1]
        logits = jax.nn.log_softmax(model(text[None, :-1], mask=None, rngs=None))[0]
        losses += (-np.asarray(logits)[np.arange(steps), text[1:]]).tolist()
    expected = np.mean(losses)
    summary = json.loads((cwd / "straight/summary.json").read_text())
    assert summary["validation"]["loss"] == pytest.approx(expected, rel=1e-5)
    sizes = ("eval_batch_size=1",)
    result = dltrain("evaluate", "straight", "split=validation", "checkpoint=last", *sizes, cwd=cwd)
    found = re.search(r"(\d+) examples +loss (\S+)", result.out)
    assert found and (int(found[1]), found[2]) == (count, f"{expected:.4f}"), result.out + result.err


def test_data_whose_examples_do_not_continue_one_another_is_refused(dltrain, cwd):
    result = dltrain("model=lstm", "model.stateful=true", cwd=cwd)
    assert result.code == 2 and "model.stateful=true: the examples of this data do not continue" in result.err
    assert "data.shuffle=streams: must be true or false" in dltrain(*WORDS, "data.shuffle=streams", cwd=cwd).err


def _nested(leaves):
    """Dots lead into dicts, and whole numbers index a list."""
    nested = {}
    for name, value in leaves.items():
        *path, last = (int(part) if part.isdigit() else part for part in name.split("."))
        node = nested
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return nested

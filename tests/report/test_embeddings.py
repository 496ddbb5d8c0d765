"""Token embeddings are those of the evaluated weights; near means a large cosine similarity."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from few import few
from sklearn.metrics.pairwise import cosine_similarity

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.report import embeddings
from dltrain.report.embeddings import nearest, nearest_tokens, token_embeddings

pytestmark = pytest.mark.usefixtures("unoptimised")


def made(*words):
    config = compose_words(*words).config
    parts = assemble(config)
    return Program(parts, make_plan(config, parts))


@few("words", [("data=characters", "model=gru"), ("data=reverse", "model=seq2seq")])
def test_embeddings_are_those_of_the_averaged_weights(words, tmp_path):
    (tmp_path / "text").write_text("one two three four five six seven " * 20)
    words = (*words, f"data.path={tmp_path / 'text'}", "data.length=9") if "data=characters" in words else words
    program = made(*words, "model.hidden=4", "model.embedding=3", "optim.ema=0.9")
    state = program.start()
    ((found, table),) = token_embeddings(
        program, replace(state, params=jax.tree.map(np.zeros_like, state.params))
    ).items()
    assert found == "embedding" and table.dtype == np.float32
    assert table.shape == (len(program.parts.spec.vocabulary), 3)
    np.testing.assert_array_equal(table, state.ema["params"]["embedding"]["table"])


def test_a_model_without_tokens_has_no_embeddings():
    program = made("data=iris", "model=linear")
    assert token_embeddings(program, program.start()) == {}


def test_the_nearest_tokens_have_the_largest_cosine_similarity_whatever_their_norms():
    drawn = np.random.default_rng(0)
    table = drawn.normal(size=(30, 4)).astype(np.float32) * drawn.uniform(0.1, 50, size=(30, 1)).astype(np.float32)
    expected = cosine_similarity(table.astype(np.float64))
    np.fill_diagonal(expected, -2)
    for row in range(30):
        found = nearest(table, row, 5)
        assert [k for k, _ in found] == np.argsort(-expected[row])[:5].tolist()
        np.testing.assert_allclose([c for _, c in found], np.sort(expected[row])[::-1][:5], rtol=1e-5, atol=1e-6)
    assert len(nearest(table, 0, 100)) == 29
    assert nearest(np.zeros((3, 2), np.float32), 0, 2) == [(1, 0.0), (2, 0.0)]


def test_each_token_is_a_line_with_its_nearest_tokens(monkeypatch):
    table = np.array([[1, 0], [4, 0.1], [1, 0], [0, 1], [-1, 0]], np.float32)
    tokens = ("king", "queen", "<pad>", " ", "\n")
    text = nearest_tokens({"embed": table}, tokens)
    assert text.splitlines()[0] == "embed: the nearest tokens, by cosine similarity"
    assert text.splitlines()[1:3] == [
        "king    queen 1.00   ' ' 0.00   '\\n' -1.00",
        "queen   king 1.00   ' ' 0.02   '\\n' -1.00",
    ]
    assert text.splitlines()[3].startswith("' '     queen 0.02   king 0.00") and len(text.splitlines()) == 5
    monkeypatch.setattr(embeddings, "LISTED", 1)
    text = nearest_tokens({"embed": table}, tokens)
    assert text.splitlines()[1:] == [
        "king   queen 1.00   ' ' 0.00   '\\n' -1.00",
        "... 3 more tokens are in TensorBoard's projector",
    ]

"""The LSTM with attention equals its formula in float64, and ignores padding."""

import numpy as np
import pytest

from dltrain.models.attention_lstm import AttentionLSTM
from dltrain.tasks import Binary, Classification
from dltrain.types import Feature, Kind, Spec

LENGTHS = np.array([5, 1, 3], np.int32)
SEQUENCES = Spec(
    {"sequence": Feature(Kind.SEQUENCE, (5, 3), "float32"), "length": Feature(Kind.LENGTH, (), "int32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abcd"))},
    Classification(),
)
X = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def read(layer, x):
    """All hidden states of one example, [L, F] -> [L, H]."""
    kernel, recurrent, bias = (np.asarray(p[...], np.float64) for p in (layer.kernel, layer.recurrent, layer.bias))
    cell = hidden = np.zeros(len(recurrent))
    states = []
    for step in x:
        i, f, g, o = np.split(step @ kernel + hidden @ recurrent + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        states.append(hidden)
    return np.array(states)


def transcribed(model, x):
    """Weights and outputs of one example without padding, [L, F] -> [L], [K]."""
    states = read(model.layers[0], x)
    if len(model.layers) == 2:
        states = np.concatenate([states, read(model.layers[1], x[::-1])[::-1]], 1)
    score, query, head = (
        {name: np.asarray(getattr(layer, name)[...], np.float64) for name in ("kernel", "bias")[:n]}
        for layer, n in ((model.score, 2), (model.query, 1), (model.head, 2))
    )
    scores = np.tanh(states @ score["kernel"] + score["bias"]) @ query["kernel"][:, 0]
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return weights, weights @ states @ head["kernel"] + head["bias"]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_and_weights_equal_the_formula_and_padding_is_not_seen(bidirectional, filled, called, close):
    model = filled(lambda rngs: AttentionLSTM(4, spec=SEQUENCES, rngs=rngs, bidirectional=bidirectional))
    given = {"sequence": X, "length": LENGTHS}
    outputs, _ = called(model, given)
    weights = np.asarray(model.attention(given))
    for row, length in enumerate(LENGTHS):
        expected, logits = transcribed(model, X[row, :length].astype(np.float64))
        close(outputs[row], logits)
        close(weights[row, :length], expected)
    assert not weights[np.arange(5) >= LENGTHS[:, None]].any()
    longer = {"sequence": np.pad(X, ((0, 0), (0, 4), (0, 0)), constant_values=9.0), "length": LENGTHS}
    found, _ = called(model, longer)
    np.testing.assert_allclose(found, outputs, rtol=0, atol=1e-6 * np.abs(outputs).max())


def test_texts_are_embedded_and_images_read_by_rows(filled, called):
    text = Spec(
        {"text": Feature(Kind.TOKENS, (5,), "int32", vocabulary=tuple("wxyz"))},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("ab"))},
        Classification(),
    )
    model = filled(lambda rngs: AttentionLSTM(4, spec=text, rngs=rngs, embedding=3))
    assert called(model, np.array([[0, 1, 2, 3, 0]], np.int32))[0].shape == (1, 2)
    image = Spec({"image": Feature(Kind.IMAGE, (5, 3, 1), "float32")}, text.targets, Classification())
    model = filled(lambda rngs: AttentionLSTM(4, spec=image, rngs=rngs))
    assert model.attention(X[..., None]).shape == (3, 5)


def test_a_table_is_refused(filled):
    table = Spec(
        {"numbers": Feature(Kind.NUMBERS, (4,), "float32")},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b"))},
        Binary(),
    )
    with pytest.raises(
        ValueError, match="needs a sequence or an image with one target per example, but this data is a table"
    ):
        filled(lambda rngs: AttentionLSTM(4, spec=table, rngs=rngs))

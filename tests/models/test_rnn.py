"""The LSTM equals PyTorch's with the same weights, in one and both directions, stacked or not."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx

from dltrain.models.rnn import LSTM, Pooling
from dltrain.types import ArraySpec, Kind, Spec, Task

SEQUENCES = Spec(
    ArraySpec((5, 3), "float32"), ArraySpec((), "int32"), Task.CLASSIFICATION, Kind.SEQUENCE, tuple("abcd")
)
X = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)


def in_torch(torch, model, x):
    """All states of the last layer, and its last state of each direction, by torch.nn.LSTM with these weights."""
    first, *_ = model.forward
    hidden, both = first.recurrent.shape[0], len(model.backward) > 0
    module = torch.nn.LSTM(x.shape[-1], hidden, len(model.forward), batch_first=True, bidirectional=both)
    weights = {}
    for suffix, layers in (("", model.forward), ("_reverse", model.backward)):
        for number, layer in enumerate(layers):
            weights[f"weight_ih_l{number}{suffix}"] = np.asarray(layer.kernel[...]).T
            weights[f"weight_hh_l{number}{suffix}"] = np.asarray(layer.recurrent[...]).T
            weights[f"bias_ih_l{number}{suffix}"] = np.asarray(layer.bias[...])
            weights[f"bias_hh_l{number}{suffix}"] = np.zeros(4 * hidden, np.float32)
    module.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    with torch.no_grad():
        states, (last, _) = module(torch.from_numpy(x))
    return states.numpy(), np.concatenate(last.numpy()[-2:] if both else last.numpy()[-1:], -1)


@pytest.mark.parametrize(
    ("layers", "bidirectional", "pool"),
    [(1, False, Pooling.LAST), (2, True, Pooling.LAST), (1, True, Pooling.MEAN), (2, False, Pooling.MAX)],
)
def test_it_equals_torch(layers, bidirectional, pool, filled, called):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    options = {"layers": layers, "bidirectional": bidirectional, "pool": pool}
    model = filled(lambda rngs: LSTM(4, spec=SEQUENCES, rngs=rngs, **options))
    states, last = in_torch(torch, model, X)
    vector = {Pooling.LAST: last, Pooling.MEAN: states.mean(1), Pooling.MAX: states.max(1)}[pool]
    expected = vector @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])[None]
    found = called(model, X)[0]
    assert found.shape == (6, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_picture_is_read_as_the_sequence_of_its_rows(filled, called):
    picture = replace(SEQUENCES, inputs=ArraySpec((5, 3, 2), "float32"), kind=Kind.IMAGE)
    flat = replace(SEQUENCES, inputs=ArraySpec((5, 6), "float32"))
    one, same = (filled(lambda rngs, spec=spec: LSTM(4, spec=spec, rngs=rngs)) for spec in (picture, flat))
    x = np.random.default_rng(1).normal(size=(2, 5, 3, 2)).astype(np.float32)
    np.testing.assert_allclose(called(one, x)[0], called(same, x.reshape(2, 5, 6))[0], rtol=1e-6)


def test_it_starts_with_an_open_forget_gate_and_an_orthogonal_square_for_each_gate():
    layer = LSTM(4, spec=SEQUENCES, rngs=nnx.Rngs(0), forget_bias=2.0).forward[0]
    assert np.asarray(layer.bias[...]).tolist() == [0] * 4 + [2] * 4 + [0] * 8
    squares = np.split(np.asarray(layer.recurrent[...]), 4, axis=1)
    for i, square in enumerate(squares):
        np.testing.assert_allclose(square @ square.T, np.eye(4), atol=1e-5)
        assert not any(np.allclose(square, other) for other in squares[:i])


def test_dropout_stands_between_the_layers_and_before_the_output(filled):
    model = filled(lambda rngs: LSTM(4, spec=SEQUENCES, rngs=rngs, layers=2, dropout=0.5))
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == [(6, 5, 4), (6, 4)]


def test_a_table_is_refused():
    table = Spec(ArraySpec((3,), "float32"), ArraySpec((), "int32"), Task.BINARY, Kind.TABLE, ("no", "yes"))
    with pytest.raises(ValueError, match="needs a sequence or a picture, and this data is a table of 3 columns"):
        LSTM(spec=table, rngs=nnx.Rngs(0))

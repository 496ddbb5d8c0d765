"""The recurrent networks equal PyTorch's with the same weights, in one and both directions, stacked or not."""

import contextlib
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from flax import nnx

from dltrain import initializers
from dltrain.models.recurrent import GRULayer, LSTMLayer, RNNLayer
from dltrain.models.rnn import GRU, LSTM, RNN, Pooling
from dltrain.ops import lowering
from dltrain.ops.recurrent import Squash, rnn
from dltrain.tasks import Binary, Classification, Language
from dltrain.types import Feature, Kind, Spec

SEQUENCES = Spec(
    {"sequence": Feature(Kind.SEQUENCE, (5, 3), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abcd"))},
    Classification(),
)
X = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)


KINDS = {
    "rnn": RNN,
    "rnn, relu": partial(RNN, activation=Squash.RELU),
    "lstm": LSTM,
    "gru": GRU,
}


def torch_layer(torch, model, features):
    """PyTorch's layers with the model's weights."""
    layer, both = model.forward[0], len(model.backward) > 0
    shape = {"batch_first": True, "num_layers": len(model.forward), "bidirectional": both}
    kind = {RNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[type(model)]
    shape |= {"nonlinearity": layer.activation.value} if isinstance(model, RNN) else {}
    module, weights = kind(features, layer.recurrent.shape[0], **shape), {}
    for suffix, layers in (("", model.forward), ("_reverse", model.backward)):
        for number, layer in enumerate(layers):
            inner = np.zeros_like(layer.bias[...])
            if isinstance(model, GRU):
                inner[-layer.recurrent_bias.size :] = layer.recurrent_bias[...]
            weights[f"weight_ih_l{number}{suffix}"] = np.asarray(layer.kernel[...]).T
            weights[f"weight_hh_l{number}{suffix}"] = np.asarray(layer.recurrent[...]).T
            weights[f"bias_ih_l{number}{suffix}"] = np.asarray(layer.bias[...])
            weights[f"bias_hh_l{number}{suffix}"] = inner
    module.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    return module


def in_torch(torch, model, x, pool):
    """Outputs, and the layers with the gradients of the sum of the outputs' squares."""
    module, both = torch_layer(torch, model, x.shape[-1]), len(model.backward) > 0
    states, last = module(torch.from_numpy(x))
    last = last[0] if isinstance(model, LSTM) else last
    last = torch.cat([*last[-2:]], -1) if both else last[-1]
    vector = {Pooling.LAST: last, Pooling.MEAN: states.mean(1), Pooling.MAX: states.amax(1)}[pool]
    kernel, bias = (torch.from_numpy(np.array(param[...])) for param in (model.head.kernel, model.head.bias))
    outputs = vector @ kernel + bias
    outputs.square().sum().backward()
    return outputs.detach().numpy(), dict(module.named_parameters())


@few(
    ("kind", "layers", "bidirectional", "pool"),
    [
        ("lstm", 2, True, Pooling.LAST),
        ("gru", 1, False, Pooling.MAX),
        ("rnn", 1, True, Pooling.MEAN),
        ("rnn, relu", 2, False, Pooling.MAX),
        ("gru", 2, True, Pooling.LAST),
        ("lstm", 1, False, Pooling.LAST),
    ],
    4,
)
def test_values_and_gradients_equal_torch(kind, layers, bidirectional, pool, filled, differentiated, close):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    options = {"layers": layers, "bidirectional": bidirectional, "pool": pool}
    model = filled(lambda rngs: KINDS[kind](4, spec=SEQUENCES, rngs=rngs, **options))
    outputs, gradients = differentiated(model, X)
    expected, theirs = in_torch(torch, model, X, pool)
    close(outputs, expected)
    for suffix, direction in (("", "forward"), ("_reverse", "backward")):
        for number, found in gradients.get(direction, {}).items():
            close(found["kernel"], theirs[f"weight_ih_l{number}{suffix}"].grad.numpy().T)
            close(found["recurrent"], theirs[f"weight_hh_l{number}{suffix}"].grad.numpy().T)
            close(found["bias"], theirs[f"bias_ih_l{number}{suffix}"].grad.numpy())
            if kind == "gru":
                close(found["recurrent_bias"], theirs[f"bias_hh_l{number}{suffix}"].grad.numpy()[-4:])


def plain(x, kernel, recurrent, bias, initial, *, function, mask):
    """The textbook's loop: states [B, L, H]; a masked step keeps the state."""
    hidden, states = initial, []
    for t in range(x.shape[1]):
        new = function(x[:, t] @ kernel + hidden @ recurrent + bias[None])
        hidden = jnp.where(mask[:, t, None], new, hidden)
        states.append(hidden)
    return jnp.stack(states, 1)


@pytest.mark.parametrize("activation", Squash)
def test_the_plain_layer_and_its_gradients_equal_autodiff_through_the_loop_with_masked_steps(activation, x64):
    rng = np.random.default_rng(0)
    given = [rng.normal(size=shape) for shape in ((3, 5, 2), (2, 4), (4, 4), (4,), (3, 4))]
    mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
    weights = rng.normal(size=(2, 3, 5, 4))

    def here(*given):
        *given, initial = given
        states, last = rnn(*given, activation=activation, initial=initial, mask=mask)
        return (weights[0] * states).sum() + (weights[1, :, 0] * last).sum(), states

    def there(*given):
        function = jnp.tanh if activation is Squash.TANH else lambda z: jnp.maximum(z, 0)
        states = plain(*given, function=function, mask=mask)
        return (weights[0] * states).sum() + (weights[1, :, 0] * states[:, -1]).sum(), states

    found, expected = (jax.jit(jax.grad(f, range(5), has_aux=True))(*given) for f in (here, there))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), found, expected)


@pytest.mark.parametrize("layer", [RNNLayer, LSTMLayer, GRULayer])
def test_a_layer_reads_past_masked_steps_as_if_they_were_not_there(layer, filled):
    options = {RNNLayer: {"activation": Squash.TANH}, LSTMLayer: {"forget_bias": 1.0}}.get(layer, {})
    inits = {
        "kernel_init": initializers.zeros(),
        "recurrent_init": initializers.zeros(),
        "bias_init": initializers.zeros(),
    }
    model = filled(lambda rngs: layer(3, 4, rngs=rngs, **options, **inits))
    mask = np.tile(np.array([True, False, True, True, False]), (6, 1))
    states, last = model(jnp.asarray(X), mask=jnp.asarray(mask))
    short, end = model(jnp.asarray(X[:, [0, 2, 3]]))
    np.testing.assert_allclose(states, np.asarray(short)[:, [0, 0, 1, 2, 2]], rtol=1e-5, atol=1e-6)
    for found, expected in zip(last, end, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_image_is_read_as_the_sequence_of_its_rows(filled, called):
    image = replace(SEQUENCES, inputs={"image": Feature(Kind.IMAGE, (5, 3, 2), "float32")})
    flat = replace(SEQUENCES, inputs={"sequence": Feature(Kind.SEQUENCE, (5, 6), "float32")})
    one, same = (filled(lambda rngs, spec=spec: LSTM(4, spec=spec, rngs=rngs)) for spec in (image, flat))
    x = np.random.default_rng(1).normal(size=(2, 5, 3, 2)).astype(np.float32)
    np.testing.assert_allclose(called(one, x)[0], called(same, x.reshape(2, 5, 6))[0], rtol=1e-6)


def test_it_starts_with_an_open_forget_gate_and_an_orthogonal_square_for_each_gate():
    layer = LSTM(4, spec=SEQUENCES, rngs=nnx.Rngs(0), forget_bias=2.0).forward[0]
    assert np.asarray(layer.bias[...]).tolist() == [0] * 4 + [2] * 4 + [0] * 8
    squares = np.split(np.asarray(layer.recurrent[...]), 4, axis=1)
    for i, square in enumerate(squares):
        np.testing.assert_allclose(square @ square.T, np.eye(4), atol=1e-5)
        assert not any(np.allclose(square, other) for other in squares[:i])


def test_dropout_is_between_the_layers_and_before_the_output(filled):
    model = filled(lambda rngs: LSTM(4, spec=SEQUENCES, rngs=rngs, layers=2, dropout=0.5))
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == [(6, 5, 4), (6, 4)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_refused(kind):
    table = Spec(
        {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))},
        Binary(),
    )
    with pytest.raises(ValueError, match="needs a sequence or an image, but this data is a table of 3 columns"):
        KINDS[kind](spec=table, rngs=nnx.Rngs(0))


LENGTHS = np.int32([5, 2, 1, 2, 5, 4])
TEXTS = Spec(
    {"text": Feature(Kind.TOKENS, (5,), "int32", vocabulary=tuple("abcdefg"))},
    {"target": Feature(Kind.TOKENS, (5,), "int32", vocabulary=tuple("abcdefg"))},
    Language(),
)
WORDS = np.random.default_rng(2).integers(0, 7, (6, 5)).astype(np.int32)


def of_lengths(spec, length):
    longer = replace(spec.input, shape=(length, *spec.input.shape[1:]))
    return replace(spec, inputs={"sequence": longer, "length": Feature(Kind.LENGTH, (), "int32")})


@few(
    ("kind", "pool", "options"),
    [
        ("rnn", Pooling.LAST, {"layers": 2}),
        ("lstm", Pooling.LAST, {"bidirectional": True}),
        ("gru", Pooling.LAST, {"layers": 2}),
        ("rnn", Pooling.MAX, {"bidirectional": True}),
        ("lstm", Pooling.MEAN, {"bidirectional": True}),
        ("gru", Pooling.MAX, {"bidirectional": True}),
    ],
    3,
)
def test_padding_changes_no_answer_however_long_and_whatever_it_holds(kind, pool, options, filled, called):
    rng, answers = np.random.default_rng(3), []
    for length in (5, 6, 13):
        spec = of_lengths(SEQUENCES, length)
        model = filled(lambda rngs, spec=spec: KINDS[kind](4, spec=spec, rngs=rngs, pool=pool, **options))
        x = rng.normal(0, 9, (6, length, 3)).astype(np.float32)
        for row, n in enumerate(LENGTHS):
            x[row, :n] = X[row, :n]
        answers.append(np.asarray(called(model, {"sequence": x, "length": LENGTHS})[0]))
    alone = np.concatenate(  # without padding or masks
        [called(model, X[row : row + 1, :n])[0] for row, n in enumerate(LENGTHS)]
    )
    for found in answers:
        np.testing.assert_allclose(found, answers[0], rtol=0, atol=1e-6 * np.abs(answers[0]).max())
        np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5)


@few("ops", ["auto", "stock"], 1)
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_padding_changes_no_bit_of_the_last_state(kind, ops, filled):
    def last(x):
        spec = of_lengths(SEQUENCES, x.shape[1])
        model = filled(lambda rngs: KINDS[kind](4, spec=spec, rngs=rngs, layers=2))
        there = np.arange(x.shape[1])[None] < LENGTHS[:, None]
        with lowering.stock() if ops == "stock" else contextlib.nullcontext():
            return jax.jit(lambda x: model._read(x, there, None, None)[1])(x)

    longer = np.concatenate([X, np.random.default_rng(4).normal(size=(6, 8, 3)).astype(np.float32)], 1)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), last(longer), last(X))


@few("kind", ["lstm", "rnn", "gru"])
def test_a_token_at_a_time_gives_what_the_whole_text_gives(kind, filled, called):
    model = filled(lambda rngs: KINDS[kind](4, spec=TEXTS, rngs=rngs, layers=2, embedding=3))
    whole = np.asarray(called(model, WORDS)[0])
    assert whole.shape == (6, 5, 7)
    cache = model.begin(None, 6)
    for t in range(5):
        logits, cache = model.decode(jnp.asarray(WORDS[:, t]), cache)
        np.testing.assert_allclose(logits, whole[:, t], rtol=1e-5, atol=1e-6)
    changed = WORDS.copy()
    changed[:, 3] = (changed[:, 3] + 1) % 7
    again = np.asarray(called(model, changed)[0])
    np.testing.assert_array_equal(again[:, :3], whole[:, :3])  # what comes is not seen
    assert (again[:, 3:] != whole[:, 3:]).any()


def test_a_bidirectional_network_cannot_be_a_language_model():
    with pytest.raises(ValueError, match="bidirectional=true would see the next token"):
        LSTM(4, spec=TEXTS, rngs=nnx.Rngs(0), bidirectional=True)
    with pytest.raises(ValueError, match="does not use tokens"):
        LSTM(
            4,
            spec=replace(TEXTS, inputs={**TEXTS.inputs, "tokens": Feature(Kind.DECODER_TOKENS, (3,), "int32")}),
            rngs=nnx.Rngs(0),
        )

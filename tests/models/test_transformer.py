"""The transformer: attention equals PyTorch's, padding changes nothing, later positions are not seen."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from flax import nnx

from dltrain import initializers
from dltrain.engine.state import split_module
from dltrain.models.blocks import Attention, Block, Positions, sinusoidal
from dltrain.models.transformer import Pool, Transformer
from dltrain.ops.attention import attention
from dltrain.tasks import Classification, Language
from dltrain.types import Feature, Kind, Spec

TEXTS = Spec(
    {"text": Feature(Kind.TOKENS, (6,), "int32", vocabulary=tuple("abcde"))},
    {"target": Feature(Kind.TOKENS, (6,), "int32", vocabulary=tuple("abcde"))},
    Language(),
)
ROWS = Spec(
    {"sequence": Feature(Kind.SEQUENCE, (6, 3), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("xyz"))},
    Classification(),
)
SMALL = {"layers": 2, "heads": 2, "width": 8, "feedforward": 12}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 8)).astype(np.float32)
LENGTHS = np.int32([6, 2, 1, 4])
WORDS = RNG.integers(0, 5, (3, 20)).astype(np.int32)


def in_torch(torch, model, *, causal, there):
    """Values and the gradients of the sum of their squares, of PyTorch's module with the same weights."""
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    weights = {
        "in_proj_weight": model.qkv.kernel[...].T,
        "in_proj_bias": model.qkv.bias[...],
        "out_proj.weight": model.out.kernel[...].T,
        "out_proj.bias": model.out.bias[...],
    }
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    x = torch.from_numpy(X).requires_grad_()
    hidden = torch.triu(torch.ones(6, 6, dtype=torch.bool), 1) if causal else None
    absent = None if there is None else torch.from_numpy(~there)
    outputs, _ = module(x, x, x, attn_mask=hidden, key_padding_mask=absent, need_weights=False)
    outputs.square().sum().backward()
    gradients = {name: value.grad.numpy() for name, value in module.named_parameters()}
    return outputs.detach().numpy(), gradients | {"x": x.grad.numpy()}


@pytest.mark.parametrize(("causal", "padded"), [(False, False), (True, False), (True, True)])
def test_attention_and_its_gradients_equal_torch(causal, padded, filled, close):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    model = filled(lambda rngs: Attention(8, 2, rngs=rngs))
    there = np.arange(6)[None] < LENGTHS[:, None] if padded else None
    mask = np.tril(np.ones((6, 6), bool))[None, None] if causal else None
    mask = mask & there[:, None, None] if padded else mask
    graph, params, rest = split_module(model)

    @jax.jit
    def run(params, x):
        def loss(params, x):
            outputs = nnx.merge(graph, params, rest, copy=True)(x, mask=mask)[0]
            return (outputs**2).sum(), outputs

        return jax.grad(loss, (0, 1), has_aux=True)(params, x)

    (gradients, dx), outputs = run(params, X)
    expected, theirs = in_torch(torch, model, causal=causal, there=there)
    close(outputs, expected)
    close(dx, theirs["x"])
    for part, name in (("qkv", "in_proj_{}"), ("out", "out_proj.{}")):
        close(gradients[part]["kernel"], theirs[name.format("weight")].T)
        close(gradients[part]["bias"], theirs[name.format("bias")])


def test_attention_is_the_formula_in_float64(x64):
    queries, keys, values = (RNG.normal(size=(2, 3, n, 4)) for n in (5, 7, 7))
    mask = RNG.random((2, 1, 5, 7)) < 0.6
    mask[..., 0] = True
    scores = np.where(mask, np.einsum("bhmd,bhld->bhml", queries, keys) / 2, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhml,bhld->bhmd", weights / weights.sum(-1, keepdims=True), values)
    found = attention(*map(jnp.asarray, (queries, keys, values)), mask=jnp.asarray(mask))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"needs queries .*, found"):
        attention(jnp.ones((1, 2, 3, 4)), jnp.ones((1, 2, 3, 5)), jnp.ones((1, 2, 3, 5)))


def test_a_block_normalises_what_each_part_is_given_and_adds_what_it_returns(filled):
    options = {
        "dropout": 0.0,
        "activation": jnp.tanh,
        "kernel_init": initializers.zeros(),
        "bias_init": initializers.zeros(),
    }
    block = filled(lambda rngs: Block(8, 2, 12, rngs=rngs, **options))

    def normal(x, norm):
        deviation = np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return (x - x.mean(-1, keepdims=True)) / deviation * norm.scale[...] + norm.bias[...]

    def dense(x, layer):
        return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])

    seen = X + np.asarray(block.attention(jnp.asarray(normal(X, block.norm_attention)), mask=None)[0])
    expected = seen + dense(np.tanh(dense(normal(seen, block.norm_dense), block.up)), block.down)
    np.testing.assert_allclose(block(jnp.asarray(X), None, None)[0], expected, rtol=1e-4, atol=1e-4)


def sequence(length):
    return Feature(Kind.SEQUENCE, (length, 3), "float32")


@few("pool", Pool, 1)
def test_padding_changes_no_answer_however_long_and_whatever_it_holds(pool, filled, called):
    rng, answers = np.random.default_rng(3), []
    for length in (6, 7, 15):
        spec = replace(ROWS, inputs={"sequence": sequence(length), "length": Feature(Kind.LENGTH, (), "int32")})
        options = {"pool": pool, "positions": Positions.SINUSOIDAL, **SMALL}
        model = filled(lambda rngs, spec=spec, options=options: Transformer(spec=spec, rngs=rngs, **options))
        x = rng.normal(0, 9, (4, length, 3)).astype(np.float32)
        for row, n in enumerate(LENGTHS):
            x[row, :n] = X[row, :n, :3]
        answers.append(np.asarray(called(model, {"sequence": x, "length": LENGTHS})[0]))
    for found in answers[1:]:
        np.testing.assert_allclose(found, answers[0], rtol=0, atol=1e-6 * np.abs(answers[0]).max())
    spec = replace(ROWS, inputs={"sequence": sequence(2)})
    alone = filled(lambda rngs: Transformer(spec=spec, rngs=rngs, **options))
    found = called(alone, X[1:2, :2, :3])[0]
    np.testing.assert_allclose(found, answers[0][1:2], rtol=0, atol=1e-5)


def test_what_comes_is_not_seen(filled, called):
    model = filled(lambda rngs: Transformer(spec=TEXTS, rngs=rngs, **SMALL))
    words, changed = WORDS[:, :6], WORDS[:, :6].copy()
    changed[:, 3] = (changed[:, 3] + 1) % 5
    whole, again = (np.asarray(called(model, x)[0]) for x in (words, changed))
    assert whole.shape == (3, 6, 5)
    np.testing.assert_array_equal(again[:, :3], whole[:, :3])
    assert (again[:, 3:] != whole[:, 3:]).any((0, 2)).all()


@few("positions", Positions, 1)
def test_a_token_at_a_time_gives_what_the_whole_text_gives_then_what_its_last_half_does(positions, filled, called):
    model = filled(lambda rngs: Transformer(spec=TEXTS, rngs=rngs, positions=positions, **SMALL))
    graph, state = nnx.split(model)
    decode = jax.jit(lambda tokens, cache: nnx.merge(graph, state).decode(tokens, cache))
    cache, windows = model.begin(None, 3), np.zeros((14, 3, 6), np.int32)
    starts = [0 if t < 6 else 3 * (t // 3 - 1) for t in range(14)]  # the positions 0..5 are full: 3 words are kept
    for t, start in enumerate(starts):
        windows[t, :, : t + 1 - start] = WORDS[:, start : t + 1]
    whole = np.asarray(called(model, windows.reshape(-1, 6))[0]).reshape(14, 3, 6, -1)
    for t, start in enumerate(starts):
        logits, cache = decode(WORDS[:, t], cache)
        expected = whole[t, :, t - start]
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=str(t))


def test_sinusoidal_positions_are_sines_and_cosines():
    found = sinusoidal(5, 6)
    for t in range(5):
        for i in range(3):
            assert found[t, 2 * i] == pytest.approx(np.sin(t / 10000 ** (2 * i / 6)))
            assert found[t, 2 * i + 1] == pytest.approx(np.cos(t / 10000 ** (2 * i / 6)))


def test_what_does_not_fit_is_refused():
    for options, message in (
        ({"width": 10, "heads": 4}, "width=10 is not divisible by heads=4; try heads=2"),
        ({"width": 9, "heads": 3, "positions": Positions.SINUSOIDAL}, "positions=sinusoidal needs an even width"),
        (
            {"spec": replace(ROWS, inputs={"x": Feature(Kind.NUMBERS, (6,), "float32")})},
            "needs a sequence or an image",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Transformer(**{"spec": ROWS, "rngs": nnx.Rngs(0), **options})

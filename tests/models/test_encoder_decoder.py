"""Encoder-decoders equal PyTorch with the same weights, generate the same step by step, and ignore padding."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from few import few
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals

from dltrain.devices.precision import PRECISIONS
from dltrain.engine.decode import generate_from
from dltrain.models.blocks import Positions
from dltrain.models.captioner import Captioner
from dltrain.models.seq2seq import Seq2Seq
from dltrain.models.seq2seq_transformer import Seq2SeqTransformer
from dltrain.tasks import Generation
from dltrain.types import Feature, Kind, Spec

RNG = np.random.default_rng(0)
WORDS = tuple("pse") + tuple("abcd")
TEXTS = Spec(
    {
        "text": Feature(Kind.TOKENS, (5,), "int32", vocabulary=WORDS),
        "length": Feature(Kind.LENGTH, (), "int32"),
        "tokens": Feature(Kind.DECODER_TOKENS, (4,), "int32", vocabulary=WORDS),
    },
    {"target": Feature(Kind.TOKENS, (4,), "int32", vocabulary=WORDS)},
    Generation(),
    for_loss={"loss_mask": Feature(Kind.MASK, (4,), "bool")},
)
PICTURES = Spec(
    {
        "image": Feature(Kind.IMAGE, (4, 4, 1), "float32"),
        "tokens": Feature(Kind.DECODER_TOKENS, (4,), "int32", vocabulary=WORDS),
    },
    {"target": Feature(Kind.TOKENS, (4,), "int32", vocabulary=WORDS)},
    Generation(),
    for_loss={"loss_mask": Feature(Kind.MASK, (4,), "bool")},
)
LENGTHS = np.array([5, 1, 3], np.int32)
READ = np.where(np.arange(5) < LENGTHS[:, None], RNG.integers(3, 7, (3, 5)), 0).astype(np.int32)
TOKENS = np.concatenate([np.ones((3, 1)), RNG.integers(3, 7, (3, 3))], 1).astype(np.int32)
PAIRS = {"text": READ, "length": LENGTHS, "tokens": TOKENS}
GIVEN = {
    "seq2seq": PAIRS,
    "seq2seq_transformer": PAIRS,
    "captioner": {"image": RNG.normal(size=(3, 4, 4, 1)).astype(np.float32), "tokens": TOKENS},
}
MODELS = {
    "seq2seq": lambda rngs: Seq2Seq(6, spec=TEXTS, rngs=rngs, embedding=3),
    "seq2seq_transformer": lambda rngs: Seq2SeqTransformer(2, 2, 8, 12, spec=TEXTS, rngs=rngs),
    "captioner": lambda rngs: Captioner(6, spec=PICTURES, rngs=rngs, channels=(2,), dense=(5,), embedding=3),
}


@few("name", MODELS, ("seq2seq",))
def test_step_by_step_it_returns_what_it_returns_at_once(name, filled, called, close):
    model = filled(MODELS[name])
    at_once, _ = called(model, GIVEN[name])
    known = {part: array for part, array in GIVEN[name].items() if part != "tokens"}
    cache = model.begin(known, 3)
    decode = nnx.jit(type(model).decode)
    for t in range(TOKENS.shape[1]):
        logits, cache = decode(model, TOKENS[:, t], cache)
        close(np.asarray(logits), at_once[:, t])


def transformer_of(length):
    """Make one that reads up to `length` tokens; learned positions have a fixed length, sinusoidal ones do not."""
    longer = replace(TEXTS.inputs["text"], shape=(length,))
    spec = replace(TEXTS, inputs={**TEXTS.inputs, "text": longer})
    return lambda rngs: Seq2SeqTransformer(2, 2, 8, 12, spec=spec, rngs=rngs, positions=Positions.SINUSOIDAL)


@pytest.mark.parametrize(
    ("short", "long"),
    [(MODELS["seq2seq"], MODELS["seq2seq"]), (transformer_of(5), transformer_of(8))],
    ids=["seq2seq", "seq2seq_transformer"],
)
def test_padding_is_not_seen(short, long, filled, called):
    model = filled(short)
    outputs, _ = called(model, PAIRS)
    longer = {**PAIRS, "text": np.pad(READ, ((0, 0), (0, 3)), constant_values=4)}
    found, _ = called(filled(long), longer)
    np.testing.assert_allclose(found, outputs, rtol=0, atol=1e-6 * np.abs(outputs).max())
    weights = np.asarray(nnx.jit(type(model).attention)(model, PAIRS))
    assert weights.shape == (3, 4, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    assert not weights[1, :, 1:].any()


@pytest.mark.parametrize("name", MODELS)
def test_in_bfloat16_everything_is_bfloat16_and_generation_is_a_loop(name, filled):
    """A loop's state must keep its type."""
    half = PRECISIONS["mixed"].cast_to_compute
    graphdef, state = nnx.split(filled(MODELS[name]))
    model, given = nnx.merge(graphdef, half(state)), half(jax.tree.map(jnp.asarray, GIVEN[name]))
    assert jax.eval_shape(lambda: model(given, mask=None, rngs=None)).dtype == jnp.bfloat16
    mask, options = jnp.ones(3, bool), {"length": TOKENS.shape[1], "hidden": "tokens"}
    assert jax.eval_shape(lambda: generate_from(model, given, mask, **options)).shape == TOKENS.shape


def test_rematerialisation_keeps_nothing_inside_the_blocks_of_either_stack(filled, capsys):
    """That remat changes no value is tested with the transformer, which uses the same stacks."""

    def kept(remat):
        model = filled(lambda rngs: Seq2SeqTransformer(1, 1, 4, 4, spec=TEXTS, rngs=rngs, remat=remat))
        graph, params = nnx.split(model)
        print_saved_residuals(lambda params: nnx.merge(graph, params)(PAIRS, mask=None, rngs=None), params)
        activated = [line for line in capsys.readouterr().out.splitlines() if "(gelu)" in line]
        return {line.partition("]")[0] + "]" for line in activated}

    assert kept(False) == {"f32[3,5,4]", "f32[3,4,4]"}
    assert kept(True) == set()


def tensor(torch, parameter):
    return torch.from_numpy(np.array(parameter[...]))


def lstm(torch, forward, backward=None):
    """PyTorch's layer, in one or both directions, with these weights."""
    module = torch.nn.LSTM(
        *forward.kernel.shape[:1], len(forward.recurrent), batch_first=True, bidirectional=bool(backward)
    )
    weights = {}
    for suffix, layer in (("", forward), ("_reverse", backward)):
        if layer is not None:
            weights[f"weight_ih_l0{suffix}"] = tensor(torch, layer.kernel).T
            weights[f"weight_hh_l0{suffix}"] = tensor(torch, layer.recurrent).T
            weights[f"bias_ih_l0{suffix}"] = tensor(torch, layer.bias)
            weights[f"bias_hh_l0{suffix}"] = torch.zeros_like(tensor(torch, layer.bias))
    module.load_state_dict(weights)
    return module


def seq2seq_in_torch(torch, model, given):
    """Logits [B, L generated, V]: packed sequences instead of masks."""
    embed, rnn = tensor(torch, model.embedding.table), torch.nn.utils.rnn
    read, lengths = (torch.from_numpy(given[part]).long() for part in ("text", "length"))
    packed = rnn.pack_padded_sequence(embed[read], lengths, batch_first=True, enforce_sorted=False)
    states, (hidden, cell) = lstm(torch, model.forward, model.backward)(packed)
    states, _ = rnn.pad_packed_sequence(states, batch_first=True, total_length=read.shape[1])
    first = tuple(torch.cat([*part], -1)[None] for part in (hidden, cell))
    written, _ = lstm(torch, model.decoder)(embed[torch.from_numpy(given["tokens"]).long()], first)
    scores = (written @ tensor(torch, model.score.kernel)) @ states.transpose(1, 2)
    scores = scores.masked_fill((torch.arange(read.shape[1]) >= lengths[:, None])[:, None], -torch.inf)
    found = scores.softmax(-1) @ states
    both = torch.tanh(torch.cat([found, written], -1) @ tensor(torch, model.combine.kernel))
    return both @ tensor(torch, model.head.kernel) + tensor(torch, model.head.bias)


def captioner_in_torch(torch, model, given):
    """Logits [B, L, V]; the encoder is the CNN, which is tested separately."""
    features = np.array(model.encoder(given["image"], mask=None, rngs=None))
    cell, hidden = torch.from_numpy(features).chunk(2, -1)
    embedded = tensor(torch, model.embedding.table)[torch.from_numpy(given["tokens"]).long()]
    states, _ = lstm(torch, model.decoder)(embedded, (hidden.tanh()[None], cell.contiguous()[None]))
    return states @ tensor(torch, model.head.kernel) + tensor(torch, model.head.bias)


@pytest.mark.parametrize(("name", "theirs"), [("seq2seq", seq2seq_in_torch), ("captioner", captioner_in_torch)])
def test_logits_equal_torch(name, theirs, filled, called, close):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    model = filled(MODELS[name])
    outputs, _ = called(model, GIVEN[name])
    close(outputs, theirs(torch, model, GIVEN[name]).detach().numpy())


CUTS = slice(0, 8), slice(8, 24)  # queries; keys and values


def linear(name, layer):
    """Name a layer's arrays as PyTorch does, and lay them out as it does."""
    return {f"{name}.weight": layer["kernel"].T, f"{name}.bias": layer["bias"]}


def multihead(name, query, keys_values, out):
    """Queries, keys and values are one product there."""
    both = {part: np.concatenate([query[part], keys_values[part]], -1) for part in ("kernel", "bias")}
    return {
        f"{name}.in_proj_weight": both["kernel"].T,
        f"{name}.in_proj_bias": both["bias"],
        **linear(f"{name}.out_proj", out),
    }


def stack_in_torch(name, blocks, norm):
    """Name the arrays of an encoder or a decoder."""
    named, norms = {}, {f"{name}.norm": norm}
    for i, block in blocks.items():
        layer, order = f"{name}.layers.{i}", ["norm_attention", "norm_dense"]
        query, rest = (jax.tree.map(lambda a, of=of: a[..., of], block["attention"]["qkv"]) for of in CUTS)
        named |= multihead(f"{layer}.self_attn", query, rest, block["attention"]["out"])
        named |= linear(f"{layer}.linear1", block["up"]) | linear(f"{layer}.linear2", block["down"])
        if "cross" in block:
            order.insert(1, "norm_cross")
            cross = [block["cross"][part] for part in ("query", "keys_values", "out")]
            named |= multihead(f"{layer}.multihead_attn", *cross)
        norms |= {f"{layer}.norm{k}": block[norm] for k, norm in enumerate(order, 1)}
    named |= {f"{norm}.weight": arrays["scale"] for norm, arrays in norms.items()}
    return named | {f"{norm}.bias": arrays["bias"] for norm, arrays in norms.items()}


def transformer_in_torch(arrays):
    """Name parameters, or their gradients, as `torch.nn.Transformer` and the module around it below do."""
    arrays = jax.tree.map(np.asarray, arrays)
    return {
        "embedding": arrays["embedding"]["table"],
        "positions_read": arrays["positions_read"],
        "positions_written": arrays["positions_written"],
        **linear("head", arrays["head"]),
        **stack_in_torch("encoder", arrays["encoder"], arrays["norm_read"]),
        **stack_in_torch("decoder", arrays["decoder"], arrays["norm_written"]),
    }


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_the_transformer_and_its_gradients_equal_torch(filled, differentiated, close, x64):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    graph, params = nnx.split(filled(MODELS["seq2seq_transformer"]))
    model = nnx.merge(graph, jax.tree.map(np.float64, params))  # in float32 small gradients are 1.1e-5 off
    outputs, gradients = differentiated(model, PAIRS)
    weights = transformer_in_torch(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    options = {"layer_norm_eps": 1e-6, "batch_first": True, "norm_first": True}
    module = torch.nn.Transformer(8, 2, 2, 2, 12, 0.0, "gelu", **options)
    module.head = torch.nn.Linear(8, len(WORDS))
    module.double()
    for name in ("embedding", "positions_read", "positions_written"):
        module.register_parameter(name, torch.nn.Parameter(torch.empty(weights[name].shape, dtype=torch.float64)))
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    read, tokens = (module.embedding[torch.from_numpy(given).long()] for given in (READ, TOKENS))
    absent = torch.from_numpy(np.arange(5) >= LENGTHS[:, None])
    states = module(
        read + module.positions_read,
        tokens + module.positions_written,
        tgt_mask=torch.triu(torch.ones(4, 4, dtype=torch.bool), 1),
        src_key_padding_mask=absent,
        memory_key_padding_mask=absent,
    )
    theirs = module.head(states)
    close(outputs, theirs.detach().numpy())
    theirs.square().sum().backward()
    found = transformer_in_torch(gradients)
    for name, parameter in module.named_parameters():
        close(found[name], parameter.grad.numpy(), name)


def test_other_data_is_refused(spec, filled):
    with pytest.raises(
        ValueError, match="generates sequences from texts, but this data is images for classification"
    ):
        filled(lambda rngs: Seq2Seq(6, spec=spec, rngs=rngs))
    with pytest.raises(
        ValueError, match="generates sequences from texts, but this data is images for classification"
    ):
        filled(lambda rngs: Seq2SeqTransformer(spec=spec, rngs=rngs))
    with pytest.raises(ValueError, match="width=10 is not divisible by heads=4; try heads=2"):
        filled(lambda rngs: Seq2SeqTransformer(width=10, spec=TEXTS, rngs=rngs))
    with pytest.raises(ValueError, match="generates texts from images, but this data is images for classification"):
        filled(lambda rngs: Captioner(6, spec=spec, rngs=rngs))
    with pytest.raises(ValueError, match="hidden=5: must be even"):
        filled(lambda rngs: Seq2Seq(5, spec=TEXTS, rngs=rngs))

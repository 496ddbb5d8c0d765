"""A stateful window continues the one before it, with the values of one pass over both; gradients end there."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.engine.state import split_module
from dltrain.engine.stateful import fresh
from dltrain.models.rnn import GRU, LSTM, RNN
from dltrain.tasks import Classification, Language
from dltrain.types import Feature, Kind, Spec

L = 4
WINDOW = Feature(Kind.TOKENS, (L,), "int32", vocabulary=tuple("abcde"))
PLAIN = Spec({"text": WINDOW}, {"next": WINDOW}, Language())
PLACED = replace(PLAIN, inputs={"text": WINDOW, "position": Feature(Kind.POSITION, (), "int32")})
TEXT = np.random.default_rng(0).integers(0, 5, 60).astype(np.int32)
KINDS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def windows(at, steps=L):
    return TEXT[np.asarray(at)[:, None] + np.arange(steps)[None, :]]


def given(at):
    return {"text": windows(at), "position": np.int32(at)}


def widest(params):
    """Parameters in float64, where this is on."""
    return jax.tree.map(lambda w: jnp.asarray(w, float), params)


class Reader:
    """A model with recurrent states, which are those of `rows` examples."""

    def __init__(self, filled, kind="lstm", rows=3, **options):
        make = partial(KINDS[kind], 4, spec=PLACED, embedding=3, stateful=True, **options)
        self.graph, params, rest = split_module(filled(lambda rngs: make(rngs=rngs)))
        self.params = widest(params)
        self.rest = self.empty = fresh(rest, rows)
        self._run = jax.jit(self._outputs, compiler_options={"xla_backend_optimization_level": 0})

    def _outputs(self, params, rest, inputs, mask):
        model = nnx.merge(self.graph, params, rest, copy=True)
        outputs = model(inputs, mask=mask, rngs=nnx.Rngs(dropout=0))
        return outputs, split_module(model)[2]

    def __call__(self, at, mask=None):
        mask = np.ones(len(at), bool) if mask is None else np.array(mask)
        outputs, self.rest = self._run(self.params, self.rest, given(at), mask)
        return np.asarray(outputs)

    def gradients(self, at):
        def loss(params):
            return (self._outputs(params, self.rest, given(at), np.ones(len(at), bool))[0] ** 2).sum()

        return jax.jit(jax.grad(loss))(self.params)

    def forgotten(self, at):
        """Outputs of windows that do not continue one another."""
        return np.asarray(self._run(self.params, self.empty, given(at), np.ones(len(at), bool))[0])


@pytest.mark.parametrize(("kind", "options"), [("rnn", {}), ("lstm", {"layers": 2, "remat": True}), ("gru", {})])
def test_windows_in_turn_equal_one_pass_over_the_text(kind, options, filled, called, x64):
    begin = np.array([0, 16, 33])
    reader = Reader(filled, kind, **options)
    found = np.concatenate([reader(begin + L * t) for t in range(3)], 1)
    graph = split_module(filled(lambda rngs: KINDS[kind](4, spec=PLAIN, rngs=rngs, embedding=3, **options)))[0]
    whole = nnx.merge(graph, reader.params, {})
    np.testing.assert_allclose(found, called(whole, windows(begin, 3 * L))[0], rtol=0, atol=1e-12)
    assert abs(found[:, L : 2 * L] - reader.forgotten(begin + L)).max() > 1e-3


def test_the_gradient_ends_at_a_window_as_with_a_detached_state_in_torch(filled, x64):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    reader, at = Reader(filled, "lstm"), np.array([0, 16, 33])
    reader(at)
    found = reader.gradients(at + L)
    weights = {name: torch.tensor(np.asarray(w)) for name, w in reader.params["forward"][0].items()}
    layer = torch.nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)
    layer.load_state_dict(
        {
            "weight_ih_l0": weights["kernel"].T,
            "weight_hh_l0": weights["recurrent"].T,
            "bias_ih_l0": weights["bias"],
            "bias_hh_l0": torch.zeros(16, dtype=torch.float64),
        }
    )
    table, kernel, bias = (
        torch.tensor(np.asarray(w), requires_grad=True)
        for w in (reader.params["embedding"]["table"], *(reader.params["head"][n] for n in ("kernel", "bias")))
    )
    state = layer(table[torch.tensor(windows(at))])[1]
    states, _ = layer(table[torch.tensor(windows(at + L))], tuple(part.detach() for part in state))
    (states @ kernel + bias).square().sum().backward()
    named = dict(layer.named_parameters())
    for mine, theirs in (
        (found["forward"][0]["kernel"], named["weight_ih_l0"].grad.T),
        (found["forward"][0]["recurrent"], named["weight_hh_l0"].grad.T),
        (found["forward"][0]["bias"], named["bias_ih_l0"].grad),
        (found["embedding"]["table"], table.grad),
        (found["head"]["kernel"], kernel.grad),
        (found["head"]["bias"], bias.grad),
    ):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-9, atol=1e-12)


def test_a_window_that_does_not_go_on_begins_with_nothing(filled):
    reader = Reader(filled)
    reader([0, 16, 33])
    for at in ([16, 33, 0], [20, 4, 36], [4, 21, 19]):  # shuffled; goes on in another place; overlaps
        before, found = reader.rest, reader(at)
        goes_on = np.array(at) == np.array([4, 20, 37])
        assert (np.abs(found - reader.forgotten(at)).max((1, 2)) > 1e-3).tolist() == goes_on.tolist()
        reader.rest = before


def test_a_masked_example_stores_no_state_and_changes_no_other(filled):
    reader, other = Reader(filled), Reader(filled)
    reader([0, 16, 33]), other([0, 16, 0], mask=[True, True, False])
    np.testing.assert_array_equal(reader([4, 20, 4])[:2], (found := other([4, 20, 4]))[:2])
    np.testing.assert_array_equal(found[2], other.forgotten([4, 20, 4])[2])


def test_microbatches_find_their_own_state(filled):
    reader, pieces = Reader(filled, rows=4), Reader(filled, rows=4)
    begin = np.array([0, 12, 24, 36])
    for t in range(3):
        whole = reader(begin + L * t)
        parts = [pieces(begin[i::2] + L * t) for i in range(2)]
        for i, part in enumerate(parts):
            np.testing.assert_allclose(part, whole[i::2], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_cannot_be_stateful_are_refused(kind, filled):
    with pytest.raises(ValueError, match=r"stateful=true: the examples of this data do not continue"):
        KINDS[kind](spec=PLAIN, rngs=nnx.Rngs(0), stateful=True)
    label = Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b"))
    both = replace(PLACED, task=Classification(), targets={"label": label})
    with pytest.raises(
        ValueError, match="bidirectional=true starts at the end of a window, so it does not go with stateful"
    ):
        KINDS[kind](spec=both, rngs=nnx.Rngs(0), stateful=True, bidirectional=True)
    with pytest.raises(ValueError, match="a batch of 5 examples, but the recurrent state holds 3"):
        Reader(filled, kind)([0, 5, 10, 15, 20])

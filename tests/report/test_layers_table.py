"""The table of layers: parameters and FLOPs equal closed forms; nothing is counted twice or left out."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.engine.state import trace_module
from dltrain.models.cnn import CNN, Padding
from dltrain.models.layers import Norm
from dltrain.models.linear import Linear
from dltrain.models.mlp import MLP
from dltrain.models.rnn import LSTM
from dltrain.report.layers import layers
from dltrain.tasks import Classification
from dltrain.tree import count
from dltrain.types import Feature, Kind, Spec

PICTURES = Spec(
    {"image": Feature(Kind.IMAGE, (8, 6, 2), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))},
    Classification(),
)


def table(make):
    """The rows of the table by name; its parameters must be all there are."""

    def model(rngs):
        return make(spec=PICTURES, rngs=rngs)

    found = layers(model, PICTURES)
    split = trace_module(model)[0]
    assert sum(row.parameters for row in found) == count(nnx.state(split, nnx.Param))
    return {row.name: (row.output, row.parameters, row.flops) for row in found}


def test_affine_layers_take_two_flops_a_weight():
    assert table(Linear) == {"head": ((3,), 96 * 3 + 3, 2 * 96 * 3)}
    rows = table(lambda **given: MLP((7, 5), norm=Norm.BATCH, dropout=0.5, **given))
    assert list(rows) == ["hidden.0", "norms.0", "hidden.1", "norms.1", "head"]  # in the order of the calls
    assert rows["hidden.0"] == ((7,), 96 * 7 + 7, 2 * 96 * 7)
    assert rows["norms.0"] == ((7,), 14, 0)
    assert rows["hidden.1"] == ((5,), 7 * 5 + 5, 2 * 7 * 5)
    assert rows["head"] == ((3,), 5 * 3 + 3, 2 * 5 * 3)


@pytest.mark.parametrize(
    ("padding", "stride", "size"),
    [(Padding.SAME, 1, (8, 6)), (Padding.VALID, 1, (6, 4)), (Padding.SAME, 2, (4, 3))],
)
def test_a_convolution_takes_two_flops_a_weight_and_place(padding, stride, size):
    rows = table(lambda **given: CNN((5,), padding=padding, stride=stride, window=1, dense=(4,), **given))
    places, weights = size[0] * size[1], 3 * 3 * 2 * 5
    assert rows["convolutions.0"] == ((*size, 5), weights + 5, 2 * places * weights)
    assert rows["dense.0"] == ((4,), places * 5 * 4 + 4, 2 * places * 5 * 4)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_lstm_takes_two_flops_a_weight_and_step(bidirectional):
    rows = table(lambda **given: LSTM(5, layers=2, bidirectional=bidirectional, **given))
    length, features, directions = 8, 6 * 2, 1 + bidirectional
    for direction in ("forward", "backward")[:directions]:
        for number, inputs in enumerate((features, directions * 5)):
            weights = inputs * 20 + 5 * 20
            assert rows[f"{direction}.{number}"] == ((length, 5), weights + 20, 2 * length * weights)
    assert rows["head"] == ((3,), directions * 5 * 3 + 3, 2 * directions * 5 * 3)
    assert len(rows) == 2 * directions + 1


class Own(nnx.Module):
    """A model that also computes something outside of its modules."""

    def __init__(self, *, spec, rngs):
        self.kernel = nnx.Param(jnp.ones((96, 4)))
        self.head = nnx.Linear(4, spec.outputs, rngs=rngs)

    def __call__(self, inputs, *, mask, rngs):
        return self.head(inputs.reshape(len(inputs), -1) @ self.kernel[...])


def test_what_a_model_does_outside_its_modules_has_a_line_of_its_own():
    assert table(Own) == {"head": ((3,), 15, 24), "(other)": ((3,), 96 * 4, 2 * 96 * 4)}


def test_looking_at_the_layers_leaves_their_classes_alone():
    table(Linear)
    model = Linear(spec=PICTURES, rngs=nnx.Rngs(0))
    assert type(model.head) is nnx.Linear
    assert np.asarray(model(np.zeros((1, 8, 6, 2), np.float32), mask=None, rngs=None)).shape == (1, 3)

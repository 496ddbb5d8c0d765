"""Maxout computes its formula, and its gradient goes to the affine map that won."""

import jax
import numpy as np

from dltrain.engine.state import split_module
from dltrain.models.maxout import Maxout
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

REGRESSION = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"target": Feature(Kind.NUMBERS, (2,), "float32")},
    Regression(),
)
X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def in_numpy(params, x, pieces):
    """Outputs [B, 2], with a loop over examples, units and maps, and the gradients of the sum of their squares."""
    x, layers = x.astype(np.float64), [params["hidden"][i] for i in sorted(params["hidden"])]
    kept = []
    for layer in layers:
        width = layer["bias"].size // pieces
        won = np.empty((len(x), width), int)
        y = np.empty((len(x), width))
        for row in range(len(x)):
            for unit in range(width):
                maps = [unit + piece * width for piece in range(pieces)]
                z = [x[row] @ layer["kernel"][:, m] + layer["bias"][m] for m in maps]
                won[row, unit], y[row, unit] = maps[int(np.argmax(z))], max(z)
        kept.append((x, won))
        x = y
    outputs = x @ params["head"]["kernel"] + params["head"]["bias"]
    d = 2 * outputs
    gradients = {"head": {"kernel": x.T @ d, "bias": d.sum(0)}, "hidden": {}}
    d = d @ params["head"]["kernel"].T
    for number, layer, (x, won) in reversed(list(zip(sorted(params["hidden"]), layers, kept, strict=True))):
        dz = np.zeros((len(x), layer["bias"].size))
        np.put_along_axis(dz, won, d, axis=1)
        gradients["hidden"][number] = {"kernel": x.T @ dz, "bias": dz.sum(0)}
        d = dz @ layer["kernel"].T
    return outputs, gradients


def test_values_and_gradients_equal_a_numpy_loop(filled, differentiated, close):
    model = filled(lambda rngs: Maxout((4, 5), spec=REGRESSION, rngs=rngs, pieces=3))
    expected, theirs = in_numpy(jax.tree.map(np.float64, split_module(model)[1]), X, 3)
    outputs, gradients = differentiated(model, X)
    close(outputs, expected)
    jax.tree.map(close, gradients, theirs)


def test_dropout_follows_each_hidden_layer(filled):
    model = filled(lambda rngs: Maxout((4, 5), spec=REGRESSION, rngs=rngs, dropout=0.5))
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == [(7, 4), (7, 5)]

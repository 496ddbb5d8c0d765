"""The perceptron learns by Rosenblatt's rule, and decides between classes only."""

import jax
import numpy as np
import pytest
from flax import nnx

from dltrain import losses
from dltrain.engine.state import split_module
from dltrain.metrics import accuracy
from dltrain.models.perceptron import Perceptron
from dltrain.tasks import Binary, Classification, Regression
from dltrain.types import Feature, Kind, Spec

BINARY = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))},
    Binary(),
)
CLASSES = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))},
    Classification(),
)


def rosenblatt(w, x, label):
    """One example of the rule, weights and bias in one array [F + 1, 1] or [F + 1, K]."""
    x = np.append(x, 1.0)
    scores = x @ w
    if len(scores) == 1:
        y = 2 * label - 1
        return w + y * x[:, None] if y * scores[0] <= 0 else w
    rival = int(np.argmax(np.where(np.arange(len(scores)) == label, -np.inf, scores)))
    change = np.zeros_like(w)
    if scores[label] <= scores[rival]:
        change[:, label], change[:, rival] = x, -x
    return w + change


@pytest.mark.parametrize("spec", [BINARY, CLASSES], ids=["one unit", "one a class"])
def test_with_its_loss_and_one_example_at_a_time_it_is_rosenblatts_rule(spec, close):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 1, 3)).astype(np.float32)
    labels = rng.integers(0, len(spec.classes), (30, 1)).astype(np.int32)
    graphdef, params, _ = split_module(Perceptron(spec=spec, rngs=nnx.Rngs(0)))
    if spec is CLASSES:  # at zero all rivals are equal, and the rule does not say which of them to punish
        params["head"]["bias"] = np.float32([0.1, 0.2, 0.3])
    w = np.concatenate([params["head"]["kernel"], params["head"]["bias"][None]]).astype(np.float64)

    @jax.jit
    def gradient(params, x, labels):
        def loss(params):
            outputs = nnx.merge(graphdef, params)(x, mask=None, rngs=None)
            return losses.perceptron(outputs, {"targets": labels})[0]

        return jax.grad(loss)(params)

    wrong = 0
    for row, label in zip(x, labels, strict=True):
        params = jax.tree.map(lambda p, g: p - g, params, gradient(params, row, label))
        before, w = w, rosenblatt(w, row[0].astype(np.float64), int(label[0]))
        wrong += not np.array_equal(before, w)
        close(np.concatenate([params["head"]["kernel"], params["head"]["bias"][None]]), w)
    assert 5 < wrong < 30


def test_the_sign_of_the_score_decides(filled, called):
    model = filled(lambda rngs: Perceptron(spec=BINARY, rngs=rngs))
    x = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    outputs = called(model, x)[0]
    sign = np.sign(x @ model.head.kernel[...] + model.head.bias[...][None])[:, 0]
    assert set(sign) == {-1.0, 1.0}
    assert np.all(accuracy(outputs, {"targets": (sign > 0).astype(np.int32)}) == 1)


def test_numbers_are_refused_as_targets():
    numbers = Spec(
        {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
        {"target": Feature(Kind.NUMBERS, (1,), "float32")},
        Regression(),
    )
    with pytest.raises(
        ValueError, match="needs classes as targets, but this data is a regression; try model=linear"
    ):
        Perceptron(spec=numbers, rngs=nnx.Rngs(0))

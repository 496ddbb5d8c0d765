"""An activation between the last layer and the loss gives the same training as the textbook formula."""

import numpy as np
import pytest

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import compose_words
from dltrain.engine.state import named_leaves

pytestmark = pytest.mark.usefixtures("unoptimised")

HAND = ("data=inline", "model=linear", "data.scale=none", "data.validation=0", "data.test=0", "data.shuffle=false")
BITS = (*HAND, "task=binary", "data.inputs=[-1,0,1,2]", "data.targets=[0,0,1,1]")
CLASSES = (*HAND, "task=classification", "data.inputs=[-1,0,1,2]", "data.targets=[0,1,2,2]")
SGD = ("optim=sgd", "optim.learning_rate=0.1", "batch_size=4")


def trained(steps, *words):
    config = compose_words(*words, *SGD, f"steps={steps}").config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    state = program.start()
    for step in range(steps):
        state, _ = program.chunk(state, program.data, program.feed_chunk(step, 1), np.int32(1))
    leaves = {name: np.asarray(leaf) for name, leaf in named_leaves(state).items()}
    return leaves["params.head.kernel"], leaves["params.head.bias"], program.evaluate(state, "train")


def test_a_sigmoid_under_a_squared_error_has_its_slope_in_the_gradient():
    # z = 0: p = 1/2, dL/dz = 2·(p - y)·p·(1-p) = ±1/4; dL/dw = mean(dL/dz·x) = mean(-1/4, 0, -1/4, -1/2) = -1/4
    kernel, bias, found = trained(1, *BITS, "loss=mse", "model.output_activation=sigmoid")
    assert kernel.item() == pytest.approx(0.1 / 4) and bias.item() == pytest.approx(0, abs=1e-7)
    p = 1 / (1 + np.exp(-0.025 * np.array([-1, 0, 1, 2])))
    assert found.scalars["loss"] == pytest.approx(np.mean((p - [0, 0, 1, 1]) ** 2), rel=1e-5)
    assert found.scalars["accuracy"] == 1  # z = 0 is class 0: metrics see what lies before the sigmoid


Z = np.array([[-40.0, 0.3, 1.0], [2.0, -1.0, 0.5], [0.0, 0.0, 3.0], [1.0, 5.0, 60.0]], np.float32)


@pytest.mark.parametrize(
    ("words", "name", "z", "expected"),
    [
        (BITS, "sigmoid", Z[:, 1:2], np.log1p(np.exp(np.where([0, 0, 1, 1], -1, 1) * Z[:, 1]))),
        (CLASSES, "softmax", Z, np.log(np.exp(Z.astype(float)).sum(1)) - Z[range(4), [0, 1, 2, 2]]),
    ],
    ids=["sigmoid", "softmax"],
)
def test_nll_sees_probabilities_and_the_metrics_of_classes_logits(words, name, z, expected):
    parts = assemble(compose_words(*words, "loss=nll", f"model.output_activation={name}").config)
    values = parts.objective.loss(z, {"targets": parts.arrays["targets"]})
    np.testing.assert_allclose(values, np.minimum(expected, -np.log(1e-12)), rtol=1e-5)
    assert parts.preprocess.outputs(z) is z


def test_metrics_of_numbers_see_the_numbers_behind_it():
    words = (*HAND, "data.inputs=[-1,0,1,2]", "data.targets=[0.1,0.5,0.7,0.9]")
    parts = assemble(compose_words(*words, "model.output_activation=sigmoid").config)
    np.testing.assert_allclose(parts.preprocess.outputs(Z), 1 / (1 + np.exp(-Z.astype(float))), rtol=1e-5)


def test_metrics_of_several_labels_per_example_see_their_probabilities():
    words = (*HAND, "data.inputs=[-1,0,1]", "data.targets=[[0,1],[1,1],[0,0]]", "loss=binary_cross_entropy")
    parts = assemble(compose_words(*words).config)
    z = Z[:3, :2]
    np.testing.assert_allclose(parts.preprocess.outputs(z), 1 / (1 + np.exp(-z.astype(float))), rtol=1e-5)
    values = parts.objective.loss(z, {"targets": parts.arrays["targets"]})
    signs = 2.0 * parts.arrays["targets"] - 1
    np.testing.assert_allclose(values, np.logaddexp(0, -signs * z.astype(float)).mean(1), rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("loss=nll", "loss=nll: takes probabilities; set model.output_activation=softmax, or use"),
        ("loss=nll model.output_activation=sigmoid", "set model.output_activation=softmax"),
        ("data=breast_cancer loss=nll", "set model.output_activation=sigmoid"),
        ("model.output_activation=softmax", "softmax: this loss takes logits; remove it"),
        (
            "data=breast_cancer loss=mse model.output_activation=softmax",
            "is always 1 for a single output; use sigmoid",
        ),
        ("data=diabetes loss=binary_cross_entropy", "takes targets from 0 to 1, but these are standardised; set"),
        ("data=diabetes model.output_activation=sigmoid", "the targets are standardised; set data.scale=unit"),
        (
            "data=diabetes loss=binary_cross_entropy data.scale=none model.output_activation=tanh",
            "takes logits",
        ),
        ("model=autoencoder model.output_activation=sigmoid", "this model has no targets"),
        ("model.output_activation=step", "must be one of sigmoid, softmax, tanh, relu, softplus, or null"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_be_right(words, message, dltrain, tmp_path):
    result = dltrain(*words.split(), "dry_run=true", cwd=tmp_path)
    assert result.code == 2 and message in result.err

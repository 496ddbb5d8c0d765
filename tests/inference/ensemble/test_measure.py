"""Metrics and loss of known outputs are those that a run's evaluator reports for the same examples."""

from dataclasses import replace

import numpy as np
import pytest

from dltrain import losses
from dltrain.data.preprocess import Scale, fit
from dltrain.engine.step import Objective
from dltrain.inference.ensemble.measure import CombinedEvaluator, Measure
from dltrain.metrics import RMSE, Average, mae
from dltrain.models.mlp import MLP
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.slow  # trains on another worker what test_ensemble.py has trained


@pytest.fixture(scope="module")
def state(program):
    return program.start()


def test_classes_as_the_evaluator_reports_them(program, state):
    examples = program.examples("test")  # more than a batch, with a short last one
    expected, outputs = program.evaluate(state, "test"), program.outputs(state, examples)
    found = Measure.of_program(program)(outputs, program.parts.source.read, examples)
    assert found.scalars == pytest.approx(expected.scalars, rel=1e-6)
    np.testing.assert_array_equal(found.arrays["confusion"], expected.arrays["confusion"])
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_numbers_are_scaled_for_the_loss(make_program, arrays):
    """Metrics are in the units of the data, the loss in standardised ones."""
    targets = (arrays["targets"][:, None] * 40.0 + 100).astype(np.float32)
    spec = Spec(
        {"image": Feature(Kind.IMAGE, (4, 4, 1), "float32")},
        {"target": Feature(Kind.NUMBERS, (1,), "float32", ("price",))},
        Regression(),
    )
    preprocess = fit(arrays["inputs"], targets, spec=spec, scale=Scale.STANDARD)
    assert preprocess.scales_targets
    metrics = {"mae": Average(mae), "rmse": RMSE(spec=spec)}
    about = {"spec": spec, "raw_spec": spec, "preprocess": preprocess, "metrics": metrics}
    source = type("Source", (), {"fingerprint": "", "published": {}, "spec": spec})()
    source.read = lambda i: {"inputs": arrays["inputs"][i], "targets": targets[i]}
    program = make_program(
        **about,
        source=source,
        arrays={"inputs": arrays["inputs"], "targets": targets},
        objective=Objective(losses.mse),
        make_model=lambda rngs: MLP((4,), spec=spec, rngs=rngs),
    )
    state, examples = program.start(), program.examples("test")
    outputs = program.outputs(state, examples)
    found = Measure.of_program(program)(outputs, source.read, examples)
    assert found.scalars == pytest.approx(program.evaluate(state, "test").scalars, rel=1e-5)
    assert found.scalars["mae"] == pytest.approx(np.abs(outputs - targets[examples]).mean(), rel=1e-5)


def test_a_loss_of_other_outputs_is_left_out(program, state):
    parts, examples = program.parts, program.examples("test")
    final = replace(parts.preprocess, final=lambda outputs: outputs)
    measure = Measure(parts.spec, final, parts.objective.loss, parts.metrics, batch_size=5)
    outputs = program.outputs(state, examples)
    found = measure(outputs, parts.source.read, examples)
    assert "loss" not in found.scalars and "accuracy" in found.scalars
    shifted = outputs - outputs.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    targets = parts.source.read(examples)["targets"]
    np.testing.assert_allclose(found.losses, -logs[np.arange(len(targets)), targets], rtol=1e-4, atol=1e-5)


def test_the_evaluator_of_an_ensemble_reads_outputs_by_the_numbers_of_examples(program):
    outputs = np.eye(3, dtype=np.float32)[np.arange(60) % 3] * 5
    measure = Measure.of_program(program)
    evaluator = CombinedEvaluator(lambda examples: outputs[examples], measure, program.parts.source.read)
    examples = np.array([3, 1, 50], np.int32)
    np.testing.assert_array_equal(evaluator.outputs(None, None, examples), outputs[examples])
    found = evaluator(None, None, examples)
    assert found.scalars["accuracy"] == 1.0 and found.examples.tolist() == [3, 1, 50]

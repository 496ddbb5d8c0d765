"""Evaluation counts every example once, whatever the batch size, in one executable."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, log_loss

from dltrain.data.split import NAMES


@pytest.fixture(scope="module")
def state(program):
    return program.start()


def test_loss_accuracy_and_confusion_equal_scikit_learn_on_every_split_and_one_executable_serves_all(
    program, state
):
    for split in NAMES:
        rows = program.examples(split)
        found = program.evaluate(state, split)
        logits = program.outputs(state, rows).astype(np.float64)
        truth = program.parts.arrays["targets"][rows]
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        assert found.scalars["loss"] == pytest.approx(log_loss(truth, probabilities, labels=[0, 1, 2]), rel=1e-5)
        assert found.scalars["accuracy"] == (logits.argmax(1) == truth).mean()
        expected = confusion_matrix(truth, logits.argmax(1), labels=[0, 1, 2])
        np.testing.assert_array_equal(found.arrays["confusion"], expected)
        assert found.arrays["confusion"].sum() == len(rows)
        np.testing.assert_allclose(found.losses, -np.log(probabilities[np.arange(len(rows)), truth]), rtol=1e-4)
    assert program.evaluator.compilations == 1


def test_the_batch_size_changes_nothing(make_program, program, state):
    other = make_program()
    other.plan = replace(other.plan, eval_batch_size=9)
    mine, theirs = program.evaluate(state, "train"), other.evaluate(state, "train")
    assert mine.scalars["accuracy"] == theirs.scalars["accuracy"]
    assert mine.scalars["loss"] == pytest.approx(theirs.scalars["loss"], rel=1e-6)


def test_dropout_is_off(program, state):
    rows = program.examples("test")
    np.testing.assert_array_equal(program.outputs(state, rows), program.outputs(state, rows))
    np.testing.assert_allclose(program.outputs(state, rows)[:3], program.outputs(state, rows[:3]), rtol=1e-6)

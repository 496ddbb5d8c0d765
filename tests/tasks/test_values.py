"""Predictions computed from outputs, compared with values by hand, and the classes of each task."""

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.errors import DataError
from dltrain.tasks import (
    Adversarial,
    Binary,
    Classification,
    Count,
    Energy,
    Forecasting,
    Generates,
    Generation,
    Language,
    Level,
    Multilabel,
    Multitarget,
    Ordinal,
    Reconstruction,
    Regression,
    Segmentation,
)


def test_of_several_classes_the_most_likely_is_predicted_and_probabilities_add_up(spec_of):
    spec = spec_of("label", Classification())
    found = spec.task.decide(jnp.log(jnp.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]])), spec)
    assert found["class"].tolist() == [1, 0] and spec.outputs == 3 == spec.task.classes(spec)
    np.testing.assert_allclose(found["probabilities"], [[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]], rtol=1e-6)


def test_one_logit_above_zero_is_the_second_class(spec_of):
    spec = spec_of("yes or no", Binary())
    found = spec.task.decide(jnp.array([[0.0], [-1.0], [np.log(3.0)]]), spec)
    assert found["class"].tolist() == [0, 0, 1] and (spec.outputs, spec.task.classes(spec)) == (1, 2)
    np.testing.assert_allclose(found["probability"], [0.5, 1 / (1 + np.e), 0.75], rtol=1e-6)


def test_each_label_is_predicted_where_its_logit_is_above_zero(spec_of):
    spec = spec_of("labels", Multilabel())
    found = spec.task.decide(jnp.array([[0.0, -1.0, np.log(3.0)]]), spec)
    assert found["labels"].tolist() == [[0, 0, 1]] and spec.outputs == 3 and spec.labels == ("red", "round", "new")
    np.testing.assert_allclose(found["probabilities"], [[0.5, 1 / (1 + np.e), 0.75]], rtol=1e-6)
    shares = spec.task.constants(np.array([[0, 1, 1], [0, 1, 0], [0, 1, 0], [0, 1, 1]]), spec)["shares of train"]
    np.testing.assert_allclose(shares, np.log([1 / 7, 7.0, 1.0]), rtol=1e-6)  # half an example is never missing
    with pytest.raises(ValueError, match="use metrics=multilabel"):
        spec.task.classes(spec)


def test_ordered_classes_have_probabilities_that_sum_to_one_whatever_the_outputs_are(spec_of):
    spec = spec_of("label", Ordinal())
    outputs = np.random.default_rng(0).normal(size=(50, 2)) * 3
    logs = np.asarray(spec.task.finish(jnp.asarray(outputs), spec), np.float64)
    above = 1 / (1 + np.exp(-outputs))
    expected = np.stack([1 - above[:, 0], above[:, 0] * (1 - above[:, 1]), above[:, 0] * above[:, 1]], 1)
    np.testing.assert_allclose(np.exp(logs), expected, rtol=1e-5)
    assert spec.outputs == 2 and spec.task.classes(spec) == 3
    np.testing.assert_array_equal(spec.task.decide(jnp.asarray(logs), spec)["class"], expected.argmax(1))


def test_counts_are_not_negative_and_not_standardised(spec_of):
    spec = spec_of("numbers", Count())
    assert not spec.task.standardizes_targets and Multitarget().standardizes_targets
    spec.task.check_targets(np.array([[0.0, 3.0]]), spec)
    with pytest.raises(DataError, match="the target of example 1 is -2, expected 0 or more; 1 of 2"):
        spec.task.check_targets(np.array([[0.0, 3.0], [1.0, -2.0]]), spec)


def test_numbers_are_values_and_not_classes(spec_of):
    spec, outputs = spec_of("numbers", Regression()), np.array([[1.5, -2.0]])
    np.testing.assert_array_equal(spec.task.decide(outputs, spec)["value"], outputs)
    assert spec.outputs == 2 and spec.task.standardizes_targets
    with pytest.raises(ValueError, match="a metric of classes cannot evaluate task=regression; use rmse"):
        spec.task.classes(spec)


@pytest.mark.parametrize(("task", "target"), [(Regression, "numbers"), (Forecasting, "steps")])
def test_quantiles_are_a_value_in_an_interval_even_if_they_cross(task, target, spec_of):
    spec = spec_of(target, task(quantiles=(0.1, 0.5, 0.9)))
    plain = spec_of(target, task())
    assert spec.outputs == 3 * plain.outputs == 3 * plain.target.size
    assert spec.task.output_shape(spec) == (*spec.target.shape, 3) and spec.task != plain.task
    outputs = np.broadcast_to([3.0, 1.0, 2.0], (5, *spec.target.shape, 3))
    found = spec.task.decide(outputs, spec)
    for name, expected in (("low", 1), ("value", 2), ("high", 3)):
        np.testing.assert_array_equal(found[name], np.full((5, *spec.target.shape), expected))


@pytest.mark.parametrize("task", [Language(), Generation()])
def test_at_each_step_the_most_likely_token_is_predicted(task, spec_of):
    spec = spec_of("text", task)
    logits = np.zeros((1, 3, 4))
    logits[0, [0, 1, 2], [3, 0, 2]] = 1
    assert spec.task.decide(logits, spec)["tokens"].tolist() == [[3, 0, 2]]
    assert spec.outputs == 4 and task.level is Level.STEP
    assert task.generates is (Generates.ANSWER if task == Generation() else Generates.CONTINUATION)


def test_each_pixel_has_the_most_likely_class(spec_of):
    spec = spec_of("pixels", Segmentation())
    mask = np.random.default_rng(0).integers(0, 2, (3, 4, 4))
    np.testing.assert_array_equal(spec.task.decide(np.eye(2)[mask], spec)["mask"], mask)
    assert spec.outputs == 2 and spec.task.level is Level.PIXEL


def test_without_targets_outputs_follow_the_inputs(spec_of):
    for task in (Reconstruction(), Energy(), Adversarial()):
        assert spec_of("label", task).outputs == 16 and not task.supervised
    outputs = {"data": np.array([1.0]), "model": np.array([2.0]), "reconstruction": np.ones((1, 16))}
    found = Energy().decide(outputs, spec_of("label"))
    assert found["energy"].tolist() == [1.0] and found["reconstruction"].shape == (1, 16)
    real = Adversarial().decide({"real": jnp.array([0.0, np.log(3.0)])}, spec_of("label"))
    np.testing.assert_allclose(real["probability"], [0.5, 0.75], rtol=1e-6)


def test_classes_become_probabilities_that_can_be_mixed(spec_of):
    labels = jnp.array([1, 0])
    several = Classification().soft_targets(labels, jnp.float32, spec_of("label"))
    assert several.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert Binary().soft_targets(labels, jnp.float32, spec_of("yes or no")).tolist() == [1, 0]
    with pytest.raises(ValueError, match="can be mixed, not targets of task=segmentation"):
        Segmentation().soft_targets(labels, jnp.float32, spec_of("pixels"))


def test_figures_follow_the_task(spec_of):
    found = {str(task): dict(task.figures(spec_of("label"))) for task in (Classification(), Segmentation())}
    assert found == {"classification": {"samples": "samples"}, "segmentation": {"masks": "masks"}}
    assert Generation().figures(spec_of("text")) == {"samples": "captions"} and not Language().figures(
        spec_of("text")
    )

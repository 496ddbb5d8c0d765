"""The explained output is the predicted class, label or pixel class, a target, or the one that is named."""

import numpy as np
import pytest

from dltrain.errors import ConfigError
from dltrain.inference.explain.select import select
from dltrain.tasks import Binary, Classification, Forecasting, Multilabel, Regression, Segmentation
from dltrain.types import Feature, Kind, Spec

CLASSES = {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))}


def spec(targets, task):
    return Spec({}, targets, task)


def explained(outputs, found):
    return (outputs * found.weights).reshape(len(outputs), -1).sum(1)


def test_of_classes_it_is_the_logit_of_the_predicted_one():
    outputs = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32)
    found = select(outputs, spec(CLASSES, Classification()))
    assert found.names == ("yes", "no") and explained(outputs, found).tolist() == [2, 3]
    named = select(outputs, spec(CLASSES, Classification()), "no")
    assert named.names == ("no", "no") and explained(outputs, named).tolist() == [1, 3]


def test_of_one_logit_the_first_class_has_minus_it():
    outputs = np.array([[1.5], [-2.0]], np.float32)
    found = select(outputs, spec(CLASSES, Binary()))
    assert found.names == ("yes", "no") and explained(outputs, found).tolist() == [1.5, 2]
    assert explained(outputs, select(outputs, spec(CLASSES, Binary()), "no")).tolist() == [-1.5, 2]


def test_of_numbers_it_is_one_target_and_of_steps_their_mean():
    named = {"y": Feature(Kind.NUMBERS, (2,), "float32", names=("price", "rent"))}
    outputs = np.array([[1.0, 5.0]], np.float32)
    assert explained(outputs, select(outputs, spec(named, Regression()))).tolist() == [1]
    assert explained(outputs, select(outputs, spec(named, Regression()), "rent")).tolist() == [5]
    quantiles = np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], np.float32)
    several = spec(named, Regression(quantiles=(0.1, 0.5, 0.9)))
    assert explained(quantiles, select(quantiles, several, "rent")).tolist() == [5]
    future = {"y": Feature(Kind.NUMBERS, (3, 2), "float32", names=("a", "b"))}
    steps = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    found = select(steps, spec(future, Forecasting()), "b")
    assert explained(steps, found) == pytest.approx([3]) and found.what.endswith("mean of 3 steps")


def test_of_labels_it_is_the_likeliest_and_of_pixels_the_mean_of_a_class():
    labels = {"y": Feature(Kind.LABELS, (2,), "int32", vocabulary=("cat", "dog"))}
    assert select(np.array([[-1.0, -2.0]], np.float32), spec(labels, Multilabel())).names == ("cat",)
    masks = {"y": Feature(Kind.CATEGORY, (2, 2), "int32", vocabulary=("ground", "tree"))}
    outputs = np.array([[[[2, 1], [2, 0]], [[3, 0], [1, 7]]]], np.float32)
    found = select(outputs, spec(masks, Segmentation()))
    assert found.names == ("tree",) and explained(outputs, found).tolist() == [7]
    assert explained(outputs, select(outputs, spec(masks, Segmentation()), "ground")) == pytest.approx([7 / 3])


def test_an_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="target=maybe: is not a class of this model, which has no, yes"):
        select(np.zeros((1, 2), np.float32), spec(CLASSES, Classification()), "maybe")

"""Class weights and orders that are balanced, from the classes of the training examples."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from dltrain import losses
from dltrain.build.imbalance import balanced_classes, with_class_weights
from dltrain.engine.step import Objective
from dltrain.errors import ConfigError
from dltrain.tasks import Classification, Regression
from dltrain.types import Feature, Kind, Spec

NAMES = ("a", "b", "c")


def spec_with(counts):
    feature = Feature(Kind.CATEGORY, (), "int32", vocabulary=NAMES[: len(counts)])
    return Spec({}, {"y": feature}, Classification(), {"train": tuple(counts)})


def objective(loss=losses.cross_entropy, weights="balanced"):
    return Objective(partial(loss, class_weights=weights))


def test_balanced_weights_equal_scikit_learn():
    labels = np.repeat([0, 1, 2], [70, 25, 5])
    found = with_class_weights(objective(), spec_with([70, 25, 5])).loss.keywords["class_weights"]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_binary_weights_make_both_classes_weigh_the_same():
    loss = with_class_weights(objective(losses.binary_cross_entropy), spec_with([90, 10])).loss
    labels = jnp.asarray(np.repeat([0, 1], [90, 10]))
    values = np.asarray(loss(jnp.zeros((100, 1)), {"targets": labels}))
    np.testing.assert_allclose([values[:90].sum(), values[90:].sum()], [50 * np.log(2)] * 2, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 3.0)])
def test_other_weights_stay(weights):
    given = objective(weights=weights)
    assert with_class_weights(given, spec_with([1, 2, 3])) is given


def test_what_has_no_classes_is_refused():
    numbers = Spec({}, {"y": Feature(Kind.NUMBERS, (1,), "float32")}, Regression())
    with pytest.raises(ConfigError, match=r"loss\.class_weights=balanced: targets are not one class per example"):
        with_class_weights(objective(), numbers)
    with pytest.raises(ConfigError, match="no training example is of class b"):
        with_class_weights(objective(), spec_with([3, 0]))
    with pytest.raises(ConfigError, match=r"data\.sampling=balanced: targets are not one class per example"):
        balanced_classes({"sampling": "balanced"}, None, shuffle=True)
    with pytest.raises(ConfigError, match=r"data\.sampling=balanced: draws at random"):
        balanced_classes({"sampling": "balanced"}, np.zeros(3, int), shuffle=False)
    assert balanced_classes({"sampling": "uniform"}, None, shuffle=False) is None

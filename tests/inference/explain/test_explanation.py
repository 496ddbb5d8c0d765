"""Models that generate are refused, and the monitored metric is that of the run."""

from functools import partial

import numpy as np
import pytest
from small_bundle import small_bundle

from dltrain.errors import ConfigError
from dltrain.inference.explain.examples import Examples
from dltrain.inference.explain.explanation import _choose, check_explains, monitored
from dltrain.models.autoencoder import Autoencoder
from dltrain.models.mlp import MLP
from dltrain.models.transformer import Transformer
from dltrain.tasks import Classification, Language, Reconstruction
from dltrain.types import Feature, Kind, Spec

WORDS = Feature(Kind.TOKENS, (4,), "int32", vocabulary=("a", "b"))
NUMBERS = Feature(Kind.NUMBERS, (3,), "float32")
CLASSES = Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))


def test_models_that_generate_or_have_no_targets_are_refused():
    language = small_bundle(partial(Transformer, 1, 1, 4, 4), Spec({"text": WORDS}, {"next": WORDS}, Language()))
    with pytest.raises(ConfigError, match="a model of task=language generates texts or examples"):
        check_explains(language)
    alone = small_bundle(partial(Autoencoder, (2,)), Spec({"x": NUMBERS}, {"y": CLASSES}, Reconstruction()))
    with pytest.raises(ConfigError, match="a model of task=reconstruction has no target"):
        check_explains(alone)


def test_the_metric_is_the_monitored_one_and_its_direction_is_known():
    bundle = small_bundle(MLP, Spec({"x": NUMBERS}, {"y": CLASSES}, Classification()), metrics={"f1": 0, "rmse": 0})
    nodes = {"f1": {"better": "higher"}, "rmse": {"better": "lower"}, "own": {}}
    config = {"monitor": "auto", "task": {"monitor": ["accuracy", "f1", "rmse"]}, "metrics": nodes}
    assert monitored(config, bundle) == {"f1": True}
    assert monitored({**config, "monitor": "validation/rmse"}, bundle) == {"rmse": False}
    assert monitored({**config, "monitor": "validation/own"}, bundle) == {}
    assert monitored({**config, "monitor": None}, bundle) == {"f1": True}


def test_half_of_the_examples_are_wrong_ones_and_the_others_of_all_classes():
    bundle = small_bundle(partial(MLP, (3,)), Spec({"x": NUMBERS}, {"y": CLASSES}, Classification()))
    inputs = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    predicted = bundle.decisions(inputs)["class"]
    targets = predicted.copy()
    targets[[3, 5, 7, 9, 11]] ^= 1
    pool = Examples(inputs, tuple(map(str, range(40))), "test set", targets)
    chosen = _choose(bundle, pool, 8)
    assert set(chosen[:4]) <= {3, 5, 7, 9, 11} and len(set(chosen)) == 8
    sure = bundle.decisions(inputs)["probabilities"].max(1)
    assert (np.diff(sure[chosen[:4]]) <= 0).all()
    assert set(predicted[chosen[4:6]]) == {0, 1} and (predicted[chosen[4:]] == targets[chosen[4:]]).all()

"""Baselines next to a result: constants, rules of the source and linear models, against independent references."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score

from dltrain.build.parts import assemble
from dltrain.composition.compose import compose_words
from dltrain.report.baselines import baselines
from dltrain.report.linear_baseline import LinearModel, most_examples, vectors
from dltrain.types import Feature, Kind, Spec


def parts_of(*words):
    return assemble(compose_words(*words).config)


def standard(x, train):
    return (x - train.mean(0)) / train.std(0)


@pytest.fixture(scope="module")
def iris():
    return parts_of("data=iris", "model=linear", "metrics=[accuracy,f1]")


@pytest.fixture(scope="module")
def diabetes():
    return parts_of("data=diabetes", "model=linear")


def values(parts, split):
    at = parts.splits[split]
    return parts.arrays["inputs"][at].astype(np.float64), parts.arrays["targets"][at]


def test_classes_are_compared_with_the_most_frequent_one_and_logistic_regression(iris):
    found = baselines(iris, "test")
    (train, y), (test, truth) = values(iris, "train"), values(iris, "test")
    common = np.bincount(y).argmax()
    always = found[f"always {iris.spec.classes[common]}"]
    assert always["accuracy"] == pytest.approx((truth == common).mean())
    assert always["f1"] == pytest.approx(f1_score(truth, np.full(len(truth), common), average="macro"))
    model = LogisticRegression(max_iter=1000).fit(standard(train, train), y)
    assert found["logistic regression"]["accuracy"] == pytest.approx(model.score(standard(test, train), truth))
    assert list(found["logistic regression"]) == ["accuracy", "f1"]


def test_numbers_are_compared_with_mean_median_and_ridge_regression(diabetes):
    found = baselines(diabetes, "validation")
    (train, y), (test, truth) = values(diabetes, "train"), values(diabetes, "validation")
    assert found["mean of train"]["rmse"] == pytest.approx(np.sqrt(np.square(truth - y.mean()).mean()), rel=1e-5)
    assert found["median of train"]["mae"] == pytest.approx(np.abs(truth - np.median(y)).mean(), rel=1e-5)
    model = Ridge(alpha=1.0).fit(standard(train, train), y)
    expected = model.predict(standard(test, train)).reshape(-1)
    assert found["ridge regression"]["mae"] == pytest.approx(np.abs(expected - truth[:, 0]).mean(), rel=1e-5)


def test_test_examples_do_not_change_a_baseline(diabetes):
    arrays = dict(diabetes.arrays)
    arrays["inputs"], arrays["targets"] = arrays["inputs"].copy(), arrays["targets"].copy()
    arrays["inputs"][diabetes.splits.test] += 50
    arrays["targets"][diabetes.splits.test] += 50
    assert baselines(replace(diabetes, arrays=arrays), "validation") == baselines(diabetes, "validation")


def test_two_classes_are_one_logit():
    parts = parts_of("data=breast_cancer", "model=linear")
    found = baselines(parts, "test")
    (train, y), (test, truth) = values(parts, "train"), values(parts, "test")
    model = LogisticRegression(max_iter=1000).fit(standard(train, train), y)
    assert found["logistic regression"]["accuracy"] == pytest.approx(model.score(standard(test, train), truth))
    assert found["always benign"]["auroc"] == 0.5


def test_blocks_and_streamed_data_give_the_same(iris, monkeypatch):
    whole = baselines(iris, "test")
    monkeypatch.setattr("dltrain.report.baselines.BLOCK", 7)
    streamed = baselines(replace(iris, arrays=None), "test")
    assert list(streamed) == list(whole)
    for name in whole:
        assert streamed[name] == pytest.approx(whole[name])


def test_a_large_training_set_is_sampled(iris, monkeypatch):
    monkeypatch.setattr("dltrain.report.linear_baseline.MOST", 60 * 12)
    monkeypatch.setattr("dltrain.report.linear_baseline.FEWEST", 20)
    assert "logistic regression of 60 examples" in baselines(iris, "test")
    monkeypatch.setattr("dltrain.report.linear_baseline.FEWEST", 100)
    assert list(baselines(iris, "test")) == [f"always {iris.spec.classes[0]}"]


def test_a_source_may_offer_its_own(diabetes):
    class Series:
        spec, fingerprint, published = diabetes.source.spec, "", {}

        def baselines(self, examples):
            return {"last value": np.zeros((len(examples), 1), np.float32)}

    found = baselines(replace(diabetes, source=Series()), "test")
    truth = values(diabetes, "test")[1]
    assert list(found) == ["last value"]
    assert found["last value"]["mae"] == pytest.approx(np.abs(truth).mean(), rel=1e-5)


def test_nothing_is_compared_without_targets_or_metrics(iris):
    assert baselines(parts_of("data=digits", "model=autoencoder"), "test") == {}
    assert baselines(replace(iris, metrics={}), "test") == {}


def test_labels_have_a_logit_each():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(300, 3)) > 0).astype(int)
    model = LinearModel(x, y, Kind.CATEGORIES, 0)  # any kind but classes and numbers
    for label in range(3):
        expected = LogisticRegression(max_iter=1000).fit(standard(x, x), y[:, label])
        np.testing.assert_allclose(
            model.outputs(x)[:, label], expected.decision_function(standard(x, x)), atol=0.01
        )


def test_categories_are_one_hot_and_texts_are_no_vectors():
    numbers = Feature(Kind.NUMBERS, (2,), "float32")
    levels = Feature(Kind.CATEGORIES, (2,), "int32", levels=(("a", "b"), tuple(map(str, range(200)))))
    inputs = {"numbers": np.ones((3, 2), np.float32), "categories": np.array([[1, 5], [2, 5], [0, 5]])}
    found = vectors(inputs, Spec({"numbers": numbers, "categories": levels}, {}))
    np.testing.assert_array_equal(found, [[1, 1, 1, 0], [1, 1, 0, 1], [1, 1, 0, 0]])
    tokens = Feature(Kind.TOKENS, (4,), "int32")
    assert vectors(np.zeros((3, 4), int), Spec({"text": tokens}, {})) is None
    photo = Feature(Kind.IMAGE, (2, 2, 1), "uint8")
    several = {**inputs, "text": np.zeros((3, 4), int), "photo": np.zeros((3, 2, 2, 1), np.uint8)}
    spec = Spec({"numbers": numbers, "categories": levels, "text": tokens, "photo": photo}, {})
    np.testing.assert_array_equal(vectors(several, spec), found)  # only the columns next to them
    wide = Feature(Kind.NUMBERS, (600,), "float32")
    assert vectors(np.zeros((3, 600)), Spec({"x": wide}, {})) is None


def test_the_number_of_examples_depends_on_the_cost():
    assert most_examples(10, 1) == 400_000
    assert most_examples(100, 5) == 4000
    assert most_examples(500, 100) == 0

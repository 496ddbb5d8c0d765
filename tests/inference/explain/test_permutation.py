"""Permutation importance equals scikit-learn's with the same permutations, and moves what belongs together."""

import numpy as np
import pytest
from scipy import stats
from sklearn.inspection import permutation_importance as reference
from sklearn.linear_model import LinearRegression

from dltrain.inference.explain import permutation
from dltrain.inference.explain.columns import Column
from dltrain.inference.explain.permutation import Importance, permutation_importance, permutations
from dltrain.types import Feature, Kind, Spec

SPEC = Spec({"numbers": Feature(Kind.NUMBERS, (3,), "float32")}, {})
COLUMNS = tuple(Column(name, (("numbers", i),), (name,), (False,)) for i, name in enumerate("abc"))


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = x @ [2.0, 0.0, -0.5] + rng.normal(0, 0.1, 80)
    return LinearRegression().fit(x, y), x, y


def importance(fitted, columns=COLUMNS, **options):
    model, x, y = fitted

    def score(inputs):
        error = np.square(model.predict(inputs) - y).mean()
        return {"loss": error, "r2": model.score(inputs, y)}

    given = {"spec": SPEC, "higher": {"loss": False, "r2": True}, "repeats": 5, "seed": 0, "split": "test set"}
    return permutation_importance(score, x, columns, **(given | options))


def test_it_equals_that_of_scikit_learn(fitted, monkeypatch):
    model, x, y = fitted
    seed = np.random.RandomState(7).randint(np.iinfo(np.int32).max + 1)  # as scikit-learn draws it

    def as_there(rows, repeats, **kwargs):
        shuffled, orders, order = np.random.RandomState(seed), [], np.arange(rows)
        so_far = np.arange(rows)
        for _ in range(repeats):
            shuffled.shuffle(order)
            so_far = so_far[order]
            orders.append(so_far)
        return np.stack(orders)

    monkeypatch.setattr(permutation, "permutations", as_there)
    found = importance(fitted)
    expected = reference(model, x, y, n_repeats=5, random_state=7)
    np.testing.assert_allclose(found.drops["r2"], expected.importances, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.mean("r2"), expected.importances_mean)
    loss = reference(model, x, y, n_repeats=5, random_state=7, scoring="neg_mean_squared_error")
    np.testing.assert_allclose(found.drops["loss"], loss.importances, rtol=1e-9, atol=1e-12)
    assert found.order().tolist() == [0, 2, 1]


def test_parts_of_a_column_move_together(fitted):
    both = Column("a", (("numbers", 0), ("numbers", 2)), ("a", "a is missing"), (False, True))
    _, x, _ = fitted
    seen = []
    permutation_importance(
        lambda inputs: seen.append(inputs) or {"loss": 0.0},
        x,
        [both],
        spec=SPEC,
        higher={"loss": False},
        repeats=1,
        seed=0,
        split="",
    )
    order = permutations(80, 1, seed=0, column=0)[0]
    np.testing.assert_array_equal(seen[1][:, [0, 2]], x[order][:, [0, 2]])
    np.testing.assert_array_equal(seen[1][:, 1], x[:, 1])
    assert not np.array_equal(seen[1], x)


def test_the_seed_decides(fitted):
    one, same, other = importance(fitted), importance(fitted), importance(fitted, seed=1)
    np.testing.assert_array_equal(one.drops["loss"], same.drops["loss"])
    assert not np.array_equal(one.drops["loss"], other.drops["loss"])


@pytest.mark.parametrize("repeats", [2, 5, 10, 11, 30])
def test_the_interval_is_that_of_students_t(repeats):
    drops = np.random.default_rng(0).normal(size=(3, repeats))
    found = Importance(("a", "b", "c"), {"loss": 0.0}, {"loss": drops}, {"loss": False}, "", 9)
    _, high = stats.t.interval(0.95, repeats - 1, drops.mean(1), stats.sem(drops, axis=1))
    np.testing.assert_allclose(found.mean() + found.half_width(), high, rtol=1e-12)


def test_a_single_repeat_has_no_interval():
    found = Importance(("a",), {"loss": 0.0}, {"loss": np.ones((1, 1))}, {"loss": False}, "", 9)
    assert found.deviation() == [0] and np.isnan(found.half_width()).all()

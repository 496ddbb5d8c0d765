"""Partial dependence of a linear model is a line with its weight; of a category the mean for each level."""

from functools import partial

import numpy as np
import pytest
from small_bundle import small_bundle

from dltrain import initializers
from dltrain.data.preprocess import Scale, fit
from dltrain.inference.explain.columns import Column
from dltrain.inference.explain.dependence import grid_of, partial_dependence
from dltrain.models.linear import Linear
from dltrain.models.mlp import MLP
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

SPEC = Spec(
    {
        "numbers": Feature(Kind.NUMBERS, (3,), "float32", names=("size", "age", "size is missing")),
        "categories": Feature(Kind.CATEGORIES, (1,), "int32", ("city",), levels=(("Bern", "Basel", "Genf"),)),
    },
    {"price": Feature(Kind.NUMBERS, (1,), "float32", names=("price",))},
    Regression(),
)
SIZE = Column("size", (("numbers", 0), ("numbers", 2)), ("size", "size is missing"), (False, True))
CITY = Column("city", (("categories", 0),), ("city",), (False,))
RNG = np.random.default_rng(0)
INPUTS = {
    "numbers": np.stack([RNG.normal(100, 20, 60), RNG.normal(30, 9, 60), np.arange(60) % 4 == 0], 1).astype(
        np.float32
    ),
    "categories": RNG.choice([1, 2, 2, 3], (60, 1)).astype(np.int32),
}


def bundle_of(model):
    targets = (INPUTS["numbers"][:, :1] * 3 + 7).astype(np.float32)
    return small_bundle(model, SPEC, fit(INPUTS, targets, spec=SPEC, scale=Scale.STANDARD))


def test_of_a_linear_model_it_is_a_line_with_its_weight():
    bundle = bundle_of(partial(Linear, kernel_init=initializers.normal(1.0)))
    (found,) = partial_dependence(bundle, INPUTS, SIZE)
    weight = np.asarray(bundle.params["head"]["kernel"][...])[0, 0]
    spread = (INPUTS["numbers"][:, 0] * 3).std() / INPUTS["numbers"][:, 0].std()  # of the target per unit of size
    slopes = np.diff(found.mean("price")) / np.diff(found.grid)
    np.testing.assert_allclose(slopes, weight * spread, rtol=1e-3)
    assert (found.column, found.part, found.categorical, len(found.grid)) == ("size", "size", False, 20)


def test_setting_a_number_says_that_it_is_not_missing():
    bundle = bundle_of(MLP)
    (found,) = partial_dependence(bundle, INPUTS, SIZE)
    changed = {name: values.copy() for name, values in INPUTS.items()}
    changed["numbers"][:, 0], changed["numbers"][:, 2] = found.grid[3], 0
    np.testing.assert_allclose(found.curves["price"][3], bundle.outputs(changed)[:, 0], rtol=1e-4)
    assert len(found.values) == 45  # the rows in which it is not missing


def test_a_category_has_the_mean_prediction_of_each_level():
    bundle = bundle_of(MLP)
    (found,) = partial_dependence(bundle, INPUTS, CITY)
    counts = np.bincount(INPUTS["categories"][:, 0])[1:]
    assert dict(zip(found.grid.tolist(), found.values.tolist(), strict=True)) == dict(
        zip(("Bern", "Basel", "Genf"), counts.tolist(), strict=True)
    )
    for number, name in enumerate(("Bern", "Basel", "Genf"), 1):
        given = {**INPUTS, "categories": np.full((60, 1), number, np.int32)}
        expected = bundle.outputs(given).mean()
        assert found.mean("price")[found.grid.tolist().index(name)] == pytest.approx(expected, rel=1e-4)


def test_the_grid_follows_the_quantiles_and_few_values_are_all_taken():
    values = np.random.default_rng(0).exponential(size=1000)
    np.testing.assert_allclose(grid_of(values), np.quantile(values, np.linspace(0.05, 0.95, 20)))
    assert grid_of(np.array([3.0, 1, 1, np.nan, 2])).tolist() == [1, 2, 3]
    mostly_zero = np.concatenate([np.zeros(1000), np.arange(1, 40)])
    assert len(grid_of(mostly_zero)) > 15  # not only 0

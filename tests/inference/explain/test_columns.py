"""Columns of a file are matched with everything that they became in the inputs of a model."""

import numpy as np
import polars as pl
from small_bundle import small_bundle

from dltrain.data.preprocess import Preprocess
from dltrain.data.tables.columns import Column as Meant
from dltrain.data.tables.columns import Meaning
from dltrain.data.tables.encode import TableEncoder
from dltrain.inference.explain.columns import columns_of, shown_values, summed, with_rows, with_value
from dltrain.models.mlp import MLP
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

FRAME = pl.DataFrame(
    {
        "age": [1.5, None, 3.0, 4.0],
        "city": ["Bern", "Rome", "Bern", "Rome"],
        "sold": ["2020-01-01", "2021-02-01", "2022-03-01", None],
        "about": ["a b", "c", "a", "b c d"],
        "size": [5.0, 6.0, 7.0, 8.0],
    }
)
MEANT = {"age": Meaning.NUMBER, "city": Meaning.CATEGORY, "sold": Meaning.DATE}
MEANT |= {"about": Meaning.TEXT, "size": Meaning.NUMBER}


def bundle():
    encoder = TableEncoder.fit(FRAME, [Meant(name, meaning, "", 0, 4) for name, meaning in MEANT.items()])
    spec = Spec(encoder.features, {"price": Feature(Kind.NUMBERS, (1,), "float32")}, Regression())
    return small_bundle(MLP, spec, Preprocess({}, encoder=encoder))


def test_a_column_has_its_number_its_date_its_level_and_whether_it_is_missing():
    found = bundle()
    columns = {column.name: column for column in columns_of(found)}
    names = found.raw_spec.inputs["numbers"].names
    assert set(columns) == set(MEANT)
    for name in ("age", "sold", "size"):
        assert [names[place] for _, place in columns[name].parts] == list(columns[name].names)
    assert columns["age"].names == ("age", "age is missing") and columns["age"].indicators == (False, True)
    assert {"sold year", "sold month", "sold is missing"} <= set(columns["sold"].names)
    assert columns["city"].parts == (("categories", 0),) and columns["about"].parts == (("about", None),)
    assert columns["size"].indicators == (False,)


def test_values_are_shown_as_in_the_file():
    found = bundle()
    shown = shown_values(found, found.encode(FRAME), columns_of(found))
    assert shown[0] == {"age": "1.5", "city": "Bern", "size": "5"}
    assert shown[1]["age"] == "missing" and shown[1]["city"] == "Rome"


def test_rows_and_values_replace_only_their_column():
    found = bundle()
    inputs, columns = found.encode(FRAME), {c.name: c for c in columns_of(found)}
    order = np.array([3, 2, 1, 0])
    changed = with_rows(inputs, columns["about"], order, found.raw_spec)
    np.testing.assert_array_equal(changed["about"], inputs["about"][order])
    np.testing.assert_array_equal(changed["numbers"], inputs["numbers"])
    changed = with_value(inputs, {("numbers", 0): 9.0}, found.raw_spec)
    assert (changed["numbers"][:, 0] == 9).all() and inputs["numbers"][0, 0] == 1.5


def test_attributions_of_a_column_are_summed_over_its_parts():
    found = bundle()
    inputs = found.encode(FRAME)
    values = {name: np.random.default_rng(0).normal(size=array.shape) for name, array in inputs.items()}
    totals = summed(values, columns_of(found))
    assert (
        totals["age"][2]
        == values["numbers"][2][[0, list(found.raw_spec.inputs["numbers"].names).index("age is missing")]].sum()
    )
    np.testing.assert_allclose(totals["about"], values["about"].sum(1))
    whole = sum(array.reshape(4, -1).sum(1) for array in values.values())
    np.testing.assert_allclose(sum(totals.values()), whole)

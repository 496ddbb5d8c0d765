"""Files are read as for predictions, with the targets and texts that they hold."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from small_bundle import small_bundle

from dltrain.data.preprocess import Preprocess
from dltrain.data.tables.columns import Column, Meaning
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.texts.encode import TextEncoder
from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.errors import DataError
from dltrain.inference.explain.examples import of_file
from dltrain.models.mlp import MLP
from dltrain.tasks import Classification, Regression
from dltrain.types import Feature, Kind, Spec

PRICE = {"price": Feature(Kind.NUMBERS, (1,), "float32", ("price",))}
CLASS = {"label": Feature(Kind.CATEGORY, (), "int32", vocabulary=("0", "1"))}
FRAME = pl.DataFrame({"size": [1.5, 2.5, 9.0], "about": ["a b", "c", "a"]})


@pytest.fixture
def table():
    columns = [Column("size", Meaning.NUMBER, "", 0, 3), Column("about", Meaning.TEXT, "", 0, 3)]
    encoder = TableEncoder.fit(FRAME, columns)
    bundle = small_bundle(MLP, Spec(encoder.features, PRICE, Regression()), Preprocess({}, encoder=encoder))
    return SimpleNamespace(bundle=bundle, config={"data": {"target": "price"}})


@pytest.fixture
def texts():
    encoder = TextEncoder("text", FittedTexts.fit(["a b", "b c"], TextOptions(Tokens.WORDS)))
    bundle = small_bundle(MLP, Spec(encoder.features, CLASS, Classification()), Preprocess({}, encoder=encoder))
    return SimpleNamespace(bundle=bundle, config={"data": {"target": "label"}})


def test_a_table_has_its_targets_texts_and_what_is_unusual(table, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("about;price;size;other\nx y;1,5;2.5;1\n;-3;1;2\n")
    found = of_file(table, path)
    assert found.targets.tolist() == [[1.5], [-3.0]] and found.what == "new.csv" and len(found) == 2
    assert found.texts == {"about": ["x y", None]}
    expected = table.bundle.prepared({"size": [2.5, 1.0], "about": ["x y", None]})
    for name, array in expected.items():
        np.testing.assert_array_equal(found.inputs[name], array)
    assert "1 column is not used: other" in found.notes
    assert found.take(np.array([1])).notes == found.notes


@pytest.mark.parametrize(
    "rows", ["size,about\n1,a\n", "size,about,price\n1,a,3\n2,b,\n", "size,about,price\n1,a,x\n"]
)
def test_without_all_targets_there_are_none(table, tmp_path, rows):
    (tmp_path / "new.csv").write_text(rows)
    assert of_file(table, tmp_path / "new.csv").targets is None


def test_a_row_that_cannot_be_read_is_named(table, tmp_path):
    (tmp_path / "new.csv").write_text("size,about\n1,a\nlarge,b\n")
    with pytest.raises(DataError, match=r"^input=.*new.csv, line 3, column size: found 'large', expected a number"):
        of_file(table, tmp_path / "new.csv")


def test_texts_are_a_table_lines_or_files(texts, tmp_path):
    (tmp_path / "a.csv").write_text("label,text\n1,a c\n0,b\n")
    (tmp_path / "b.txt").write_text("a c\nb\n")
    (tmp_path / "folder").mkdir()
    for name, text in (("1.txt", "a c"), ("2.txt", "b")):
        (tmp_path / "folder" / name).write_text(text)
    cases = {"a.csv": ([1, 0], ("line 2", "line 3")), "b.txt": (None, ("line 1", "line 2"))}
    cases["folder"] = None, ("1.txt", "2.txt")
    for name, (targets, names) in cases.items():
        found = of_file(texts, tmp_path / name)
        assert found.names == names
        assert found.texts["tokens"] == ["a c", "b"]
        np.testing.assert_array_equal(found.inputs["tokens"], texts.bundle.encode(["a c", "b"])["tokens"])
        assert (found.targets if targets is None else found.targets.tolist()) == targets


def test_arrays_may_have_targets(texts, tmp_path):
    inputs = texts.bundle.encode(["a c", "b"])
    np.savez(tmp_path / "a.npz", targets=np.array([1, 0]), other=np.zeros(7), **inputs)
    found = of_file(texts, tmp_path / "a.npz")
    assert found.targets.tolist() == [1, 0] and found.texts == {} and found.names == ("example 0", "example 1")
    np.savez(tmp_path / "b.npz", targets=np.array([1, 0, 1]), **inputs)
    with pytest.raises(DataError, match="expected arrays of equal length"):
        of_file(texts, tmp_path / "b.npz")

"""A table as a source: its target, its splits, what it says about itself, and what is fitted."""

import json

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from dltrain import tasks
from dltrain.data.sources.table import load_table
from dltrain.data.targets import class_levels
from dltrain.errors import DataError

ROWS = pl.DataFrame(
    {
        "n": [1.5, 2.5, 3.5, 4.5] * 10,
        "c": ["a", "b", "a", None] * 10,
        "y": [i * 1.25 for i in range(40)],
        "z": [i * 2.5 for i in range(40)],
        "kind": ["spam", "ham"] * 20,
        "stars": [1, 2, 3, 4, 5] * 8,
    }
)


@pytest.fixture
def path(tmp_path):
    ROWS.write_csv(tmp_path / "t.csv")
    return tmp_path / "t.csv"


TARGETS = {  # target, task -> suggestion, array of the first rows, classes
    "a number": ("y", None, ("regression", "y is a number"), [[0.0], [1.25]], ()),
    "two words": ("kind", tasks.Binary(), ("binary", "kind has two values"), [1, 0], ("ham", "spam")),
    "whole numbers": (
        "stars",
        tasks.Classification(),
        ("classification", "stars has 5 whole numbers; task=regression predicts a number"),
        [0, 1],
        ("1", "2", "3", "4", "5"),
    ),
    "whole numbers as a number": (
        "stars",
        tasks.Regression(),
        ("classification", "stars has 5 whole numbers; task=regression predicts a number"),
        [[1.0], [2.0]],
        (),
    ),
    "several numbers": (["y", "z"], None, ("multitarget", "2 numbers: y, z"), [[0.0, 0.0], [1.25, 2.5]], ()),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_suggests_its_task(path, name):
    target, task, suggestion, first, classes = TARGETS[name]
    source = load_table(str(path), target=target, task=task)
    assert source.suggestion == suggestion and source.spec.classes == classes
    assert source.read_targets()[:2].tolist() == first
    feature = source.spec.target
    assert feature.names == (() if classes else tuple([target] if isinstance(target, str) else target))


@pytest.mark.parametrize(
    ("values", "positive", "levels"),
    [
        (["b", "a"], None, ("a", "b")),
        (["b", "a"], "a", ("b", "a")),
        ([10, 9, 1], None, ("1", "9", "10")),
        ([2.0, 1.0], None, ("1", "2")),
        ([True, False], "false", ("true", "false")),
    ],
)
def test_classes_are_sorted_and_the_positive_one_is_last(values, positive, levels):
    assert class_levels(values, positive=positive) == levels


LABELS = ROWS.with_columns(old=pl.Series([True, False] * 20), red=pl.Series([0, 1, 1, 1] * 10))


def test_columns_of_0_and_1_are_labels(tmp_path):
    LABELS.write_csv(tmp_path / "t.csv")
    source = load_table(str(tmp_path / "t.csv"), target=["old", "red"])
    assert source.suggestion == ("multilabel", "2 columns of 0 and 1: old, red")
    assert source.spec.labels == ("old", "red") and source.spec.target.dtype == "int32"
    assert source.read_targets()[:3].tolist() == [[1, 0], [0, 1], [1, 1]]
    numbers = load_table(str(tmp_path / "t.csv"), target=["red", "stars"])
    assert numbers.suggestion[0] == "multitarget"
    with pytest.raises(DataError, match="line 3, column stars: found 2, expected a label, 0 or 1"):
        load_table(str(tmp_path / "t.csv"), target=["red", "stars"], task=tasks.Multilabel())


def test_a_column_weighs_the_rows_and_is_not_an_input(tmp_path):
    ROWS.with_columns(w=pl.Series([0.5, 2.0] * 20)).write_csv(tmp_path / "t.csv")
    source, encoder = load_table(str(tmp_path / "t.csv"), target="y", weight="w").encode(np.arange(30))
    assert source.read(np.arange(3))["weights"].tolist() == [0.5, 2, 0.5] and list(source.spec.for_loss) == [
        "weights"
    ]
    assert "w" not in encoder.numbers


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -2.0], "line 3, column w: found -2, expected a weight"),
        ([1.0, None], "line 3, column w: found None"),
    ],
)
def test_weights_are_numbers_of_0_or_more(tmp_path, values, message):
    ROWS.with_columns(w=pl.Series(values * 20)).write_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match=message):
        load_table(str(tmp_path / "t.csv"), target="y", weight="w").encode(np.arange(30))


def test_files_of_their_own_are_splits(path, tmp_path):
    ROWS.head(3).write_csv(tmp_path / "test.csv")
    ROWS.head(2).write_parquet(tmp_path / "val.parquet")
    source = load_table(
        "t.csv", root=str(tmp_path), target="y", test_path="test.csv", validation_path="val.parquet"
    )
    assert {name: rows.tolist() for name, rows in source.published.items()} == {
        "test": [40, 41, 42],
        "validation": [43, 44],
    }
    assert source.where(41) == f"{tmp_path}/test.csv, line 3" and source.where(44).endswith("row 2")


def test_rows_without_target_are_left_out_and_counted(path):
    path.write_text(path.read_text().replace("2.5,b,1.25,", "2.5,b,,").replace("1.5,a,5.0,", "1.5,a,NA,"))
    source = load_table(str(path), target="y")
    assert len(source) == 38 and source.read_targets()[1].tolist() == [2.5]
    notes = source.describe(np.arange(30)).notes
    assert any(note.startswith("2 of 40 rows are left out, as they have no y; the first:") for note in notes)
    assert source.where(1).endswith("line 4")


def test_a_source_says_what_it_found(path):
    path.write_text(path.read_text() + "".join(f"{i},a,{i},{i},ham,{i % 5 + 1}\n" for i in range(100)) + "1,2\n")
    found = load_table(str(path), target="y", on_bad="skip", group="kind").describe(np.arange(100))
    assert [row[:2] for row in found.rows] == [
        ("y", "target"),
        ("n", "number"),
        ("c", "category"),
        ("z", "number"),
        ("stars", "number"),
    ]
    assert (
        found.bad_rows.splitlines()[1]
        == f'{path},line 142,,"found 2 fields, expected 6 (comma-separated), as the header has"'
    )
    assert any("1 of 141 rows is bad" in note for note in found.notes)


def test_columns_are_given_by_name(path):
    source = load_table(str(path), target="y", group="kind")
    assert source.column("kind")[:2].tolist() == ["spam", "ham"]
    assert "kind" not in [column.name for column in source.columns(np.arange(40))]


CELLS = st.tuples(
    st.none() | st.floats(-1e6, 1e6), st.sampled_from(["a", "b", "new", "other", None]), st.floats(-1e3, 1e3)
)


@settings(max_examples=25, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=6))
def test_fitted_values_do_not_change_when_test_rows_change(tmp_path_factory, cells):
    folder = tmp_path_factory.mktemp("t")
    plain = ROWS.select("n", "c", "y")
    plain.write_csv(folder / "train.csv")
    pl.DataFrame(cells, schema=plain.schema, orient="row").write_csv(folder / "test.csv")
    plain.head(5).write_csv(folder / "usual.csv")
    fitted = []
    for name in ("usual", "test"):
        source = load_table("train.csv", root=str(folder), target="y", test_path=f"{name}.csv")
        rows, encoder = source.encode(np.arange(40))
        fitted.append((json.dumps(encoder.to_json()), rows.arrays["inputs"]["numbers"][:40].tobytes()))
    assert fitted[0] == fitted[1]

"""What columns mean, and the arrays that they become: fitted on training rows, the same for rows given later."""

import json
import os
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dltrain.api import words_of
from dltrain.data.check import check_examples
from dltrain.data.sources.table import load_table
from dltrain.data.tables.columns import Meaning, find_columns
from dltrain.data.tables.encode import LEVEL_OF_MISSING, TableEncoder
from dltrain.errors import DataError
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

MANY = 60
MEANINGS = {
    "number": ([1.5, 2.5, None, 4.0] * 15, "number"),
    "counts": ([3, 1, 2, 2] * 15, "number"),
    "category": (["a", "b", None, "a"] * 15, "category"),
    "one value and missing": (["a", None] * 30, "category"),
    "flag": ([True, False] * 30, "category"),
    "text": ([f"some words about number {i}" for i in range(MANY)], "text"),
    "date": ([datetime(2020, 1, 1 + i % 28) for i in range(MANY)], "date"),
    "constant": (["x"] * MANY, "constant"),
    "nothing": ([None] * MANY, "constant"),
    "row": (list(range(MANY)), "identifier"),
    "customer_id": ([7919 * i % 100_003 for i in range(MANY)], "identifier"),
    "price": ([7919 * i % 100_003 for i in range(MANY)], "number"),
    "code": ([f"{i:04x}" for i in range(MANY)], "identifier"),
}


def test_the_meaning_of_a_column_is_found_and_can_be_set():
    frame = pl.DataFrame({name: values for name, (values, _) in MEANINGS.items()}, strict=False)
    found = {column.name: column for column in find_columns(frame, {})}
    assert {name: str(column.meaning) for name, column in found.items()} == {n: m for n, (_, m) in MEANINGS.items()}
    assert (found["category"].missing, found["category"].distinct) == (15, 2)
    (set_, *_) = find_columns(frame, {"number": "category"}, skip=[])
    assert (set_.meaning, set_.why) == (Meaning.CATEGORY, "as you set it")
    assert [c.name for c in find_columns(frame.head(0), {}, skip=list(MEANINGS))] == []


FRAME = pl.DataFrame(
    {
        "age": [20.0, None, 40.0, 90.0],
        "rooms": [1, 2, 2, 5],
        "city": ["Rome", None, "Paris", "Rome"],
        "garden": [True, False, True, True],
        "zip": [1, 2, 1, 2],
        "built": [date(2001, 5, 1), date(2001, 7, 1), None, date(2003, 5, 1)],
    }
)


@pytest.fixture
def encoder():
    columns = find_columns(FRAME, {"zip": "category"})
    return TableEncoder.fit(FRAME, columns)


def test_rows_become_numbers_and_levels(encoder):
    found = encoder.encode(FRAME)
    names = ("age", "rooms", "built year", "built month", "built weekday", "age is missing", "built is missing")
    assert encoder.features["numbers"].names == names
    assert found["numbers"].tolist() == [
        [20, 1, 2001, 5, 2, 0, 0],
        [40, 2, 2001, 7, 7, 1, 0],  # the median of 20, 40, 90
        [40, 2, 2001, 5, 4, 0, 1],
        [90, 5, 2003, 5, 4, 0, 0],
    ]
    assert encoder.categories == {
        "city": ["Paris", "Rome", LEVEL_OF_MISSING],
        "garden": ["false", "true"],
        "zip": ["1", "2"],
    }
    assert found["categories"].tolist() == [[2, 2, 1], [3, 1, 2], [1, 2, 1], [2, 2, 2]]
    check_examples({"inputs": found, "targets": np.zeros(4, np.float32)}, Spec(encoder.features, {"y": _number()}))


def test_later_rows_may_have_unseen_levels_and_missing_values(encoder):
    rows = {"age": [None], "rooms": [None], "city": ["Oslo"], "garden": [None], "zip": [7], "built": [None]}
    again = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    found = again.encode(pl.DataFrame(rows))
    assert found["numbers"].tolist() == [[40, 2, 2001, 5, 4, 1, 1]]
    assert found["categories"].tolist() == [[0, 0, 0]]


ONE = {"age": None, "rooms": 2, "city": "Rome", "garden": True, "zip": 1, "built": datetime(2001, 5, 1)}
TEXTS = {"age": "?", "rooms": "2", "city": "Rome", "garden": "true", "zip": "1", "built": "2001-05-01"}
SAME = [
    pl.DataFrame([TEXTS]),
    {n: np.array([np.nan if v is None else v]) for n, v in ONE.items()}
    | {"zip": [1.0], "built": [date(2001, 5, 1)]},
    ONE,
    [ONE | {"rooms": 2.0, "more": 1}],
]


@pytest.mark.parametrize("rows", SAME, ids=["frame of texts", "columns", "one record", "records"])
def test_rows_are_taken_in_the_form_in_which_people_have_them(encoder, rows):
    found = encoder.encode(rows)
    assert found["numbers"].tolist() == [[40, 2, 2001, 5, 2, 1, 0]]
    assert found["categories"].tolist() == [[2, 2, 1]]


def test_a_frame_is_kept_as_a_file_for_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path))
    words = words_of(["data=table"], {"data": {"path": FRAME, "target": "age"}})
    path = words[1].partition("=")[2].strip("'\"")
    assert pl.read_parquet(path).equals(FRAME) and words[2] == "data.target='age'"
    assert words == words_of(["data=table", {"data.path": FRAME}], {"data.target": "age"})
    assert [Path(name).suffix for name in os.listdir(tmp_path / "frames")] == [".parquet"]


def test_arrays_stay_as_they_are(encoder):
    arrays = encoder.encode(FRAME)
    assert encoder.encode(arrays) is arrays
    plain = TableEncoder.fit(FRAME, find_columns(FRAME.select("rooms"), {}))
    assert plain.encode([[1.0]]) == [[1.0]] and plain.encode(FRAME).tolist() == [[1], [2], [2], [5]]


WRONG = {
    "a word for a number": (
        {"rooms": ["2", "two", "2", "2"]},
        "column rooms, index 1: found 'two', expected a number",
    ),
    "dates for numbers": ({"rooms": FRAME["built"]}, "column rooms: found Date values, expected numbers"),
    "a number for a date": ({"built": [1, 2, 3, 4]}, "column built: found Int64 values, expected dates"),
    "no date": (
        {"built": ["2001-05-01", "May", None, None]},
        "column built, index 1: found 'May', expected a date as YYYY-MM-DD",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_kind_is_refused(encoder, name):
    columns, message = WRONG[name]
    with pytest.raises(DataError, match=f"inputs: {message}"):
        encoder.encode(FRAME.with_columns(**{n: pl.Series(v) for n, v in columns.items()}))


def test_a_column_that_is_missing_is_named(encoder):
    with pytest.raises(DataError, match="the column built is missing; there are age, rooms"):
        encoder.encode(FRAME.select("age", "rooms"))


def test_infinite_numbers_of_later_rows_count_as_missing(encoder):
    found = encoder.encode(FRAME.with_columns(age=pl.Series([np.inf, -np.inf, np.nan, 1e39])))
    assert found["numbers"][:, [0, 5]].tolist() == [[40, 1]] * 4


def test_a_column_of_texts_is_an_input_of_its_own():
    words = ["a red house by the sea", None, "a house in the old town", "flat in town"]
    frame = pl.DataFrame({"rooms": [1, 2, 3, 4], "what it's like": words, "numbers": words[::-1]})
    columns = find_columns(frame, {"what it's like": "text", "numbers": "text", "rooms": "number"})
    fitted = TableEncoder.fit(frame, columns)
    again = TableEncoder.from_json(json.loads(json.dumps(fitted.to_json())))
    found = again.encode(frame)
    assert list(found) == list(fitted.features) == ["numbers", "what_it_s_like", "numbers_3"]
    assert fitted.features["what_it_s_like"].kind is Kind.NGRAMS
    assert (found["what_it_s_like"] > 0).sum(1).tolist() == [11, 0, 11, 5]  # words, and pairs of words
    assert np.array_equal(found["numbers_3"], found["what_it_s_like"][::-1])


def test_numbers_that_float32_cannot_tell_apart_stay_float64():
    seconds = pl.DataFrame({"time": [1.7e9 + i for i in range(10)]})
    fitted = TableEncoder.fit(seconds, find_columns(seconds, {"time": "number"}))
    assert fitted.features["numbers"].dtype == "float64"
    assert fitted.encode(seconds)[:, 0].tolist() == seconds["time"].to_list()


def _number():
    return Feature(Kind.NUMBERS, (), "float32")


def test_texts_given_later_are_the_levels_that_they_were_in_the_file(tmp_path):
    lines = [f"{i % 3},{'True' if i % 2 else 'False'},2024-01-0{1 + i % 3},{i}.5" for i in range(30)]
    (tmp_path / "t.csv").write_text("rooms,garden,day,price\n" + "\n".join(lines) + "\n")
    meanings = {"rooms": "category", "day": "category"}
    source = load_table(str(tmp_path / "t.csv"), target="price", task=Regression(), meanings=meanings)
    rows, encoder = source.encode(np.arange(30))
    again = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    first = rows.read(np.arange(2))["inputs"]
    asked = {"rooms": ["0", "1"], "garden": ["FALSE", " True"], "day": ["2024-01-01", "2024-01-02"]}
    assert again.encode(asked).tolist() == first.tolist()
    asked = {"rooms": [0, 1.0], "garden": [False, True], "day": ["2024-01-01", "2024-01-02"]}
    assert again.encode(asked).tolist() == first.tolist()
    assert again.encode({"rooms": ["many"], "garden": ["perhaps"], "day": ["soon"]}).tolist() == [[0, 0, 0]]

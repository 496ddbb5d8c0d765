"""A table with a row per time step becomes sequences of different lengths; mistakes are named with their rows."""

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.series.columns import Fill
from dltrain.data.sources.sequences import load_sequences
from dltrain.errors import ConfigError, DataError, MemoryExhausted
from dltrain.tasks import Classification, Regression
from dltrain.types import Kind

HEADER = "who,t,x,y,kind,age"
ROWS = [
    "b,2,1,-1,walk,30",
    "a,1,5,0,run,20",
    "b,1,0,-2,walk,30",
    "a,2,6,0.5,run,20",
    "b,3,2,0,walk,30",
    "c,1,9,9,walk,44",
]


def read(written, rows=ROWS, **options):
    return load_sequences(
        written(HEADER, *rows), **{"id": "who", "target": "kind", "columns": ["x", "y"], **options}
    )


def test_rows_with_one_identifier_are_one_padded_sequence(written):
    source = read(written, time="t", task=Classification())
    arrays = source.read(np.arange(3))
    check_examples(arrays, source.spec)
    assert source.spec.inputs["sequence"].names == ("x", "y") and source.spec.classes == ("run", "walk")
    assert arrays["inputs"]["length"].tolist() == [3, 2, 1] and arrays["targets"].tolist() == [1, 0, 1]
    expected = [[[0, -2], [1, -1], [2, 0]], [[5, 0], [6, 0.5], [0, 0]], [[9, 9], [0, 0], [0, 0]]]
    np.testing.assert_array_equal(arrays["inputs"]["sequence"], np.array(expected, np.float32))


def test_without_a_time_the_rows_are_in_order(written):
    found = read(written).read(np.array([0]))["inputs"]["sequence"]
    assert found[0, :, 0].tolist() == [1, 0, 2]


def test_numbers_are_predicted_too_and_other_numbers_are_inputs(written):
    source = read(written, target="age", columns=None, time="t", task=Regression())
    assert source.spec.inputs["sequence"].names == ("x", "y")
    assert source.spec.target.kind is Kind.NUMBERS and source.spec.target.names == ("age",)
    np.testing.assert_array_equal(source.read(np.arange(3))["targets"], np.array([[30], [20], [44]], np.float32))


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        (ROWS, {"id": None}, ConfigError, "data.id: missing"),
        (ROWS, {"target": None}, ConfigError, "data.target: missing"),
        (
            ROWS,
            {"target": "Kind"},
            DataError,
            "has no column Kind; did you mean kind? (columns: who, t, x, y, kind, age)",
        ),
        (
            [*ROWS, "c,2,9,9,run,44"],
            {},
            DataError,
            "row 8: kind is 'run', but 'walk' in row 7 of the same sequence (c)",
        ),
        ([*ROWS, "c,2,9,9,,44"], {}, DataError, "row 8 has no kind (data.target)"),
        ([*ROWS, ",2,9,9,run,44"], {}, DataError, "row 8 has no who (data.id)"),
        ([*ROWS, "c,2,,9,walk,44"], {}, DataError, "row 8, column x: no value"),
        ([*ROWS, "c,1,8,9,walk,44"], {"time": "t"}, DataError, "rows 7 and 8 (who c) have the same time"),
        ([*ROWS, "c,2,z,9,walk,44"], {}, DataError, "row 8, column x: 'z' is not a number"),
        (ROWS, {"memory_left": 10}, MemoryExhausted, "3 sequences padded to 3 rows take"),
    ],
)
def test_a_mistake_is_named_with_its_row(rows, options, error, message, written):
    with pytest.raises(error) as raised:
        read(written, rows, **options)
    assert message in str(raised.value)


def test_missing_inputs_are_filled_in_within_a_sequence(written):
    source = read(written, [*ROWS, "c,2,,9,walk,44"], fill=Fill.FFILL)
    assert source.read(np.array([2]))["inputs"]["sequence"][0, :2, 0].tolist() == [9, 9]


def test_keys_of_tables_are_refused_for_other_files(tmp_path):
    np.savez(tmp_path / "s.npz", inputs=np.zeros((2, 3, 1)), targets=np.arange(2))
    with pytest.raises(ConfigError, match=r"data.id: is for tables \(.csv"):
        load_sequences(str(tmp_path / "s.npz"), id="who")

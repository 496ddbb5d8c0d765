"""float64 columns with a large offset keep their differences: inputs lose it on the host, of others a warning."""

import json

import numpy as np
import pytest

from dltrain.build.data import read_data
from dltrain.build.locate import locate
from dltrain.build.model import make_task
from dltrain.composition.compose import compose_words
from dltrain.data.preprocess import Offset, Preprocess, Scale, fit
from dltrain.data.preprocess.offset import narrowed
from dltrain.errors import DataError
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.usefixtures("without_figures", "quickly_compiled")
TIMES = "data.inputs=[1700000001,1700000002,1700000003,1700000004]"
RUN = (
    "data=inline",
    "data.validation=0",
    "model=linear",
    "optim=sgd",
    "optim.learning_rate=0.3",
    "steps=60",
    "quiet=true",
    "overwrite=true",
)


def read(*words):
    config = compose_words("data=inline", "data.validation=0", "model=linear", *words).config
    return read_data(config, (), task=make_task(config, ()), needed=None)


def test_times_in_seconds_train_as_if_counted_from_the_first(dltrain, tmp_path):
    found = {}
    for name, inputs in (("late", TIMES), ("early", "data.inputs=[1,2,3,4]")):
        said = dltrain(*RUN, inputs, f"output_dir={tmp_path / name}")
        assert (said.code, said.err) == (0, "")
        found[name] = json.loads((tmp_path / name / "summary.json").read_text())["hash"]
    assert found["late"] == found["early"]  # to the bit: scaled, they are the same numbers


def test_a_model_opened_without_its_data_predicts_from_raw_times(dltrain, tmp_path):
    from dltrain import open_run

    assert dltrain(*RUN, TIMES, f"output_dir={tmp_path / 'run'}").code == 0
    run = open_run(tmp_path / "run")
    found = run.outputs([[1700000001], [1700000004]])
    np.testing.assert_allclose(found, [[2], [8]], atol=0.1)
    np.testing.assert_array_equal(run.outputs(np.array([[1700000001.0], [1700000004.0]])), found)
    with pytest.raises(DataError, match=r"column 0 \(counted from 0\) needs float64"):
        run.outputs(np.array([[1700000001], [1700000004]], np.float32))


@pytest.mark.parametrize(
    ("words", "column"),
    [
        (("data.targets=[1700000001,1700000002,1700000003,1700000004]",), "targets column y"),
        ((TIMES, "data.scale=none"), "inputs column x"),
    ],
)
def test_what_float32_cannot_tell_apart_is_warned_about_by_column(dltrain, words, column):
    said = dltrain(*RUN, *words, "dry_run=true")
    assert (
        f"warning: data: {column}: float32 cannot tell its values from 1700000001 to 1700000004 apart" in said.err
    )


def test_only_columns_that_need_it_lose_an_offset_and_others_keep_their_bits():
    rows = "data.inputs=[[1700000001,0.1],[1700000002,0.2],[1700000003,0.3],[1700000004,0.4]]"
    data = read(rows)
    step = data.preprocess.inputs["numbers"].steps[0]
    assert isinstance(step, Offset) and step.offset.tolist() == [1700000002.5, 0.0]
    assert data.arrays["inputs"].dtype == np.float32
    np.testing.assert_array_equal(data.arrays["inputs"][:, 0], [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_array_equal(data.arrays["inputs"][:, 1], np.float32([0.1, 0.2, 0.3, 0.4]))
    plain = read("data.inputs=[[2001,0.1],[2002,0.2],[2003,0.3],[2004,0.4]]")
    assert [type(step).__name__ for step in plain.preprocess.inputs["numbers"].steps] == ["Affine"]
    assert plain.arrays["inputs"].dtype == np.float32


def test_a_source_of_float64_is_fitted_in_float64():
    rng = np.random.default_rng(0)
    inputs = 1e9 + rng.normal(size=(500, 2)) * [1.0, 1e8]
    spec = Spec(
        {"numbers": Feature(Kind.NUMBERS, (2,), "float64")},
        {"target": Feature(Kind.NUMBERS, (1,), "float32")},
        Regression(),
    )
    found = fit(inputs, np.zeros((500, 1), np.float32), spec=spec, scale=Scale.STANDARD)
    scaled = np.asarray(found.scaled({"inputs": found.host(inputs)})["inputs"])
    expected = (inputs - inputs.mean(0)) / inputs.std(0)
    np.testing.assert_allclose(scaled, expected, atol=1e-5)
    saved = json.loads(json.dumps(found.to_json()))
    again = Preprocess.from_json(saved, lambda name: locate(name, path="model.json"))
    np.testing.assert_array_equal(again.host(inputs), found.host(inputs))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([[1.7e9], [1.7e9 + 1]]), "float64"),
        (np.array([[1700000001], [1700000002]], np.int64), "float64"),
        (np.array([[1e38], [2e38]]), "float32"),
        (np.array([[5.0], [5.0]]), "float32"),
        (np.array([[np.nan], [1.0]]), "float32"),
        (np.array([[1e300], [1.0]]), "float32"),
        (np.array([[1e-30], [1e30]]), "float32"),
        (np.array([[300], [301]], np.int16), "float32"),
    ],
)
def test_numbers_become_float32_unless_that_loses_their_differences(values, dtype):
    assert narrowed(values).dtype == dtype

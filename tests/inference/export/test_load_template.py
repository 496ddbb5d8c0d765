"""load.py encodes rows as dltrain does, and runs without anything but jax, flatbuffers and numpy."""

import datetime
import json
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from dltrain.data.encoders import NumbersEncoder
from dltrain.data.images.column import ImageColumn
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.tables.columns import Column, Meaning
from dltrain.data.tables.convert import DATES, TIMES, Kind, as_dates
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.texts.encode import TextEncoder
from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.errors import DataError
from dltrain.inference.export import load_template

MEANINGS = {
    **{
        "plain": "number",
        "comma": "number",
        "grouped": "number",
        "day": "date",
        "month": "date",
        "city": "category",
    },
    **{"flag": "category", "level": "category", "about": "text"},
}
WRITTEN = {"comma": Kind("number", ","), "grouped": Kind("number", "1,000"), "day": Kind("date", "%d.%m.%Y %H:%M")}
WRITTEN |= {"month": Kind("date", "%Y-%m"), "flag": Kind("flag"), "level": Kind("number", "")}
TRAIN = {
    "plain": [1.5, None, 4.0, 3.0],
    "comma": [1.5, 2.5, 3.25, None],
    "grouped": [1000.0, 2.0, 3.0, 4.0],
    "day": [
        datetime.datetime(2020, 1, 2, 3, 30),
        datetime.datetime(2021, 5, 7),
        None,
        datetime.datetime(2020, 9, 9),
    ],
    "month": [datetime.datetime(2020, 1, 1), *[datetime.datetime(2020, 7, 1)] * 3],
    "city": ["Rome", "Oslo", None, "?!"],
    "flag": [True, False, True, None],
    "level": [1, 2, 3, 4],
    "about": ["It’s a LARGE flat", "a small one", None, "naïve cafe\u0301 — 3 rooms"],
}


@pytest.fixture(scope="module")
def encoder() -> TableEncoder:
    columns = [Column(name, Meaning(meaning), "", 0, 0) for name, meaning in MEANINGS.items()]
    return TableEncoder.fit(pl.DataFrame(TRAIN), columns, written=WRITTEN, missing=("", "NA", "-999"))


def signature(encoder) -> dict:
    """As `export.signature` describes it."""
    names = {name: encoder.input_of(name) for name in (*encoder.texts, *encoder.images)}
    inputs = {"numbers": "numbers", "categories": "categories", **names}
    fitted = json.loads(json.dumps(encoder.to_json()))
    return {
        "encoder": {"kind": "table", "inputs": inputs, "fitted": fitted},
        "inputs": dict.fromkeys(encoder.features),
    }


ROW = {"plain": 2, "comma": "2,5", "grouped": "3", "day": "01.02.2020 05:06", "month": "2020-03"}
ROW |= {"city": "Rome", "flag": "True", "level": "2", "about": "a large flat"}
ODD = {
    "plain": (None, float("nan"), "NA", "-999", -999, -999.0, True, 1e300, "1e3", " 7 ", "inf"),
    "comma": ("1,5", "-1,5e2", "1.5", "NA", 3, "+2"),
    "grouped": ("1,234,567", "-1,000.5", "12.5", 7),
    "day": ("1.2.2020 5:06", "", None, datetime.date(2020, 2, 29), datetime.datetime(2022, 1, 2, 3)),
    "month": ("1999-12", None),
    "city": ("Oslo", "Atlantis", None, "", 3, 2.0, 0.5),
    "flag": (True, False, "TRUE", " false ", "yes", None),
    "level": (1, 2.0, "3", " 4.0", 5, "x", None),
    "about": (None, "", "It’s", "NAÏVE café", "a " * 50, "😀 \x00"),
}


@pytest.mark.parametrize("column", ODD)
def test_rows_become_the_arrays_of_dltrain(encoder, column):
    for value in ODD[column]:
        row = ROW | {column: value}
        expected = encoder.encode(pl.DataFrame([row], strict=False))
        for records in ([row], row, {name: [value] for name, value in row.items()}):
            found = load_template.encode(signature(encoder), records)
            assert found.keys() == expected.keys()
            for name, array in expected.items():
                assert array.dtype == found[name].dtype
                np.testing.assert_array_equal(found[name], array, err_msg=f"{value!r}: {name}")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"plain": "many"}, "column plain, index 0: found 'many', expected a number"),
        ({"plain": "1_000"}, "column plain, index 0: found '1_000', expected a number"),
        ({"comma": "1,2,3"}, "column comma, index 0"),
        ({"day": "30.2.2020 00:00"}, "column day, index 0"),
        ({"day": 5}, "column day"),
    ],
)
def test_what_dltrain_refuses_is_refused(encoder, odd, message):
    with pytest.raises(DataError, match=message):
        encoder.encode([ROW | odd])
    with pytest.raises(ValueError, match=message):
        load_template.encode(signature(encoder), [ROW | odd])


def test_a_missing_column_is_named(encoder):
    rows = [{name: value for name, value in ROW.items() if name != "city"}]
    with pytest.raises(ValueError, match="the column city is missing; there are plain, comma"):
        load_template.encode(signature(encoder), rows)


@pytest.mark.parametrize("date", DATES)
def test_dates_are_read_as_polars_reads_them(date):
    values = {"%Y": "2021", "%y": "69", "%m": "3", "%d": "07", "%b": "Mar", "%B": "March", "%H": "4", "%M": "05"}
    values |= {"%S": "59", "%.f": ".125", "%#z": "+05:30"}
    for time in TIMES:
        text = format = date + time
        for sign, value in values.items():
            text = text.replace(sign, value)
        expected = as_dates(pl.Series([text]), format)[0]
        found = load_template._read_date(text, format)
        assert expected is not None and found == expected.replace(microsecond=0), (text, format)


def test_images_are_passed_as_arrays_next_to_the_columns():
    encoder = TableEncoder(
        {"a": {"median": 1.0, "sign": "", "indicator": False}}, {}, images={"photo": ImageColumn(ImageEncoder(2))}
    )
    pixels = np.ones((1, 2, 2, 3), np.uint8)
    found = load_template.encode(signature(encoder), {"a": [None], "photo": pixels})
    assert found["numbers"].tolist() == [[1.0]] and found["photo"] is pixels


@pytest.mark.parametrize("tokens", [Tokens.WORDS, Tokens.CHARACTERS, Tokens.NGRAMS])
def test_texts_become_the_tokens_of_dltrain(tokens):
    texts = ["see YOU later", "see it, it’s late", "win: a prize", None, "", "never seen"]
    encoder = TextEncoder("text", FittedTexts.fit(texts[:2] * 3, TextOptions(tokens, min_count=None)))
    about = {"encoder": {"kind": "texts", "fitted": json.loads(json.dumps(encoder.to_json()))}, "inputs": {}}
    expected = encoder.encode(texts)
    expected = expected if isinstance(expected, dict) else {"ngrams": expected}
    for records in (texts, {"text": texts}, [{"text": text} for text in texts]):
        found = load_template.encode(about, records)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)


def test_named_numbers_are_put_in_order():
    encoder = NumbersEncoder(("a", "b"))
    fitted = {"names": ["a", "b"], "dtype": "float32"}
    about = {"encoder": {"kind": "numbers", "inputs": {"numbers": "x"}, "fitted": fitted}, "inputs": {"x": {}}}
    rows = [{"b": 1, "a": "2.5", "c": 9}, {"b": 3.5, "a": 4}]
    np.testing.assert_array_equal(load_template.encode(about, rows)["x"], encoder.encode(rows))
    with pytest.raises(ValueError, match="column b, index 0: no value; expected a number"):
        load_template.encode(about, [{"a": 1, "b": None}])


def test_offsets_are_subtracted_in_float64_once():
    offsets = {"host": {"x": [{"kind": "offset", "offset": [1.7e9]}]}}
    about = {**offsets, "inputs": {"x": {"shape": [None, 1], "dtype": "float32"}}}
    once = load_template.prepare_one(about, "x", np.array([[1.7e9 + 1]]))
    assert once.tolist() == [[1.0]] and load_template.prepare_one(about, "x", once).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("expected", "found", "largest"),
    [
        ([[1.0, 1000.0]], [[1.0, 1000.5]], 5e-4),  # relative to the column
        ([[0.0], [10.0]], [[0.001], [10.0]], 2e-4),  # of a value near 0, to the mean of its column
        ([[1.0]], [[np.nan]], np.inf),
        ([[np.nan, np.inf]], [[np.nan, np.inf]], 0.0),
    ],
)
def test_differences_are_relative_to_values_and_their_column(expected, found, largest):
    given = np.array(expected), np.array(found)
    assert load_template.difference("value", *given) == pytest.approx(largest)


def test_probabilities_are_compared_as_they_are_and_classes_are_equal():
    assert load_template.difference("probabilities", np.array([[1e-9]]), np.array([[2e-9]])) < 1e-8
    assert load_template.difference("class", np.array([1, 2]), np.array([1, 3])) == np.inf
    assert load_template.difference("value", np.zeros((2, 1)), np.zeros(2)) == np.inf


BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dltrain", "flax", "optax", "orbax", "polars", "hydra", "omegaconf", "PIL"}:
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
import load
model = load.load()
count, largest = model.check()
row = {"rooms": None, "size": "20,5", "city": "Rome", "new": True, "sold": "1.2.2020 03:30", "about": "a flat"}
print(count, largest < 1e-4, len(model.predict([row, row])["class"]))
print([name for name in sys.modules if name.split(".")[0] in ("dltrain", "flax", "polars")])
"""


def test_the_folder_runs_with_jax_flatbuffers_and_numpy_alone(case, tmp_path, quick_flags):
    shutil.copytree(case.export, tmp_path / "elsewhere")
    command = [sys.executable, "-I", "-c", BLOCKER, str(tmp_path / "elsewhere")]
    done = subprocess.run(command, capture_output=True, text=True, env={"XLA_FLAGS": quick_flags}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == [f"{len(case.frame)} True 2", "[]"]


def test_an_old_export_asks_to_be_exported_again(case, tmp_path):
    shutil.copytree(case.export, tmp_path / "model")
    about = json.loads((tmp_path / "model" / "signature.json").read_text())
    about["versions"]["jax"] = "0.1"
    load_template.Model(tmp_path / "model", about)
    about["readable_until"] = "2020-01-01"
    with pytest.warns(UserWarning, match="may not be read by jax .* dltrain export FOLDER refresh=true"):
        load_template.Model(tmp_path / "model", about)
    content = b"another format"
    (tmp_path / "model" / "model.stablehlo").write_bytes(content)
    with pytest.raises(ValueError, match="its SHA-256 is not the one in signature"):
        load_template.Model(tmp_path / "model", about)
    about["files"]["model.stablehlo"]["sha256"] = load_template.hashlib.sha256(content).hexdigest()
    about["readable_until"] = "2999-01-01"
    with pytest.raises(ValueError, match=r"cannot be read by jax .* refresh=true"):
        load_template.Model(tmp_path / "model", about)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_folder_runs_in_an_environment_of_its_own(case, tmp_path):
    python = tmp_path / "plain" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "plain")], check=True)
    packages = [f"{name}=={version}" for name, version in case_versions(case).items()]
    install = [str(python), "-m", "pip", "install", "-q", *packages, "flatbuffers"]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip(f"pip cannot install {' '.join(packages)} here")
    done = subprocess.run([str(python), str(case.export / "load.py")], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(case.frame)} examples: largest difference")


def case_versions(case) -> dict[str, str]:
    versions = json.loads((case.export / "signature.json").read_text())["versions"]
    return {name: versions[name] for name in ("jax", "numpy")}

"""Texts in a table: the column is tokenised by what the training texts hold, and keys that do not fit are named."""

import numpy as np
import pytest

from dltrain.data.preprocess.step import named_json
from dltrain.data.sources.text import load_text
from dltrain.data.texts.encode import TextEncoder
from dltrain.errors import ConfigError, DataError
from dltrain.tasks import Binary, Regression

ROWS = 'ham\tgood morning\nspam\tWIN a "prize now\nham\tgood night\nspam\twin win\nham\t\nham\t42\n'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "spam.tsv"
    path.write_text(ROWS, encoding="utf-8")
    return str(path)


@pytest.fixture
def source(file):
    return load_text(file, text="text", target="label", columns=["label", "text"], quote="none", task=Binary())


def test_the_vocabulary_is_that_of_the_training_texts(source):
    assert source.suggestion == ("binary", "label has two values") and len(source) == 6
    rows, encoder = source.encode(np.array([0, 2]))
    assert encoder.fitted.vocabulary[4:] == ("good",)
    again = source.encode(np.array([0, 1, 2, 3, 4, 5]))[1]
    assert again.fitted.vocabulary[4:] == ("win", "good")
    assert set(rows.spec.inputs) == {"tokens", "length"} and rows.spec.targets == source.spec.targets
    assert rows.arrays["inputs"]["tokens"].tolist() == [[4, 3], [3, 3], [4, 3], [3, 3], [3, 0], [3, 0]]
    assert rows.arrays["inputs"]["length"].tolist() == [2, 2, 2, 2, 1, 1]


def test_what_was_found_is_described(source):
    notes = "\n".join(source.describe(np.arange(4)).notes)
    assert "tab-separated" in notes and "words (6 different), at most 5 words of a text" in notes
    assert "1 of 6 texts are empty" in notes


def test_the_positive_class_is_class_one(file):
    given = {"text": "text", "target": "label", "columns": ["label", "text"], "quote": "none", "task": Binary()}
    for positive, classes in ((None, ("ham", "spam")), ("spam", ("ham", "spam")), ("ham", ("spam", "ham"))):
        source = load_text(file, positive=positive, **given)
        assert source.spec.target.vocabulary == classes
        assert source.read_targets().tolist() == [classes.index(row.split("\t")[0]) for row in ROWS.splitlines()]
    with pytest.raises(DataError, match=r"data.positive=eggs"):
        load_text(file, positive="eggs", **given)


def test_numbers_are_predicted_from_texts_and_files_of_splits_are_kept(tmp_path):
    for name, stars in (("train", (1.5, 2.5)), ("test", (3.5,))):
        lines = [f'"{name}, {i}",{star}' for i, star in enumerate(stars)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["review,stars", *lines]), encoding="utf-8")
    given = {"root": str(tmp_path), "test_path": "test.csv", "text": "review", "target": "stars"}
    source = load_text("train.csv", task=Regression(), **given)
    assert source.suggestion[0] == "regression" and source.published["test"].tolist() == [2]
    assert source.read_targets().tolist() == [[1.5], [2.5], [3.5]]
    assert source.frame["review"].to_list() == ["train, 0", "train, 1", "test, 0"]


def test_records_are_encoded_like_the_file_and_arrays_stay(source):
    rows, encoder = source.encode(np.arange(4))
    texts = ["good morning", 'WIN a "prize now']
    again = TextEncoder.from_json(named_json(encoder)["fitted"])
    for records in (texts, {"text": texts, "label": ["?", "?"]}, np.array(texts, object)):
        found = again.encode(records)
        for name, array in found.items():
            np.testing.assert_array_equal(array, rows.arrays["inputs"][name][:2])
    assert again.encode(found) is found


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ("one text", "expected a list of texts, found one text"),
        ([1, 2], "text of example 0 is 1, expected a text"),
        ({"body": ["a"]}, "the column text is missing; there are body"),
    ],
)
def test_other_records_are_refused(source, records, message):
    with pytest.raises(DataError, match=message):
        source.encode(np.arange(4))[1].encode(records)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"text": None}, ConfigError, r"data.text: missing; data.text=COLUMN"),
        ({"target": "text"}, ConfigError, "data.text=text: is also data.target"),
        ({"text": "txt"}, DataError, r"data.text=txt: spam.tsv has no such column"),
        ({"path": None}, ConfigError, "data.path: missing"),
    ],
)
def test_keys_that_do_not_fit_are_named(file, keys, error, message):
    given = {"path": file, "text": "text", "target": "label", "columns": ["label", "text"], "quote": "none"}
    with pytest.raises(error, match=message):
        load_text(**given | keys)

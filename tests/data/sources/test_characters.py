"""A text becomes windows whose targets are the next characters, split in the order of the file."""

import hashlib
import re
import tracemalloc

import numpy as np
import pytest

from dltrain.data.check import check_examples
from dltrain.data.sources.characters import Characters
from dltrain.errors import ConfigError, DataError

TEXT = "Füge ein Wort zu Wörtern, 12 mal.\r\n" * 9


@pytest.fixture
def path(tmp_path):
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    return str(tmp_path / "text.txt")


def texts(source, part, rows=None):
    rows = source.read(np.arange(len(source)) if rows is None else rows)[part]
    return ["".join(source.spec.vocabulary[i] for i in row) for row in rows]


def test_a_window_is_a_part_of_the_text_and_its_targets_are_one_character_further(path):
    source = Characters(path, length=10, stride=3, validation=0.2)
    check_examples(source.read(np.arange(len(source))), source.spec)
    assert source.spec.vocabulary == tuple(sorted(set(TEXT)))
    train = np.arange(len(source) - len(source.published["validation"]))
    assert texts(source, "inputs", train) == [TEXT[3 * i : 3 * i + 10] for i in train]
    assert texts(source, "targets", train) == [TEXT[3 * i + 1 : 3 * i + 11] for i in train]
    assert source.spec.example().dtype == np.int32


def test_the_last_characters_are_for_validation_each_once_and_no_training_window_sees_one(path):
    source = Characters(path, length=10, stride=3, validation=0.2)
    border = len(TEXT) - round(len(TEXT) * 0.2)
    held = source.published["validation"]
    assert "".join(texts(source, "targets", held)) == TEXT[border + 1 :][: 10 * len(held)]
    assert len(TEXT) - border - 1 - 10 * len(held) < 10
    assert source.position[: held[0]].max() + 10 < border <= source.position[: held[0]].max() + 10 + 3
    assert len(source.published["test"]) == 0


def test_a_test_split_follows_validation(path):
    source = Characters(path, length=5, validation=0.25, test=0.2)
    border = len(TEXT) - round(len(TEXT) * 0.2)
    assert (
        "".join(texts(source, "inputs", source.published["test"]))
        == TEXT[border:][: 5 * (round(len(TEXT) * 0.2) // 5)]
    )
    assert source.position[source.published["validation"]].max() + 5 < border


def test_a_stateful_window_has_its_position(path):
    source = Characters(path, length=10, stride=5, stateful=True)
    rows = source.read(np.arange(len(source)))
    check_examples(rows, source.spec)
    assert list(source.spec.inputs) == ["text", "position"]
    for at, window in zip(rows["inputs"]["position"], rows["inputs"]["text"], strict=True):
        assert TEXT[at : at + 10] == "".join(source.spec.vocabulary[i] for i in window)


def test_one_character_changes_the_fingerprint(tmp_path, path):
    (tmp_path / "other.txt").write_bytes(TEXT.replace("12", "21", 1).encode())
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    same, marked = (Characters(p, length=5).fingerprint for p in (path, str(tmp_path / "marked.txt")))
    assert same == marked != Characters(str(tmp_path / "other.txt"), length=5).fingerprint


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "text.txt (data.path): cannot be read (No such file or directory)"),
        (b"", {}, "text.txt: 0 of its 0 characters are for train, and data.length=10 needs at least 11"),
        (b"abc\xff", {}, "text.txt: is not UTF-8: byte 3 is 0xff (invalid start byte)"),
        (b"a" * 12, {"validation": 0.5}, "6 of its 12 characters are for train"),
        (b"a" * 100, {}, "10 of its 100 characters are for validation, and data.length=10 needs at least 11"),
        (b"a" * 100, {"validation": 0, "test": 0.1}, "10 of its 100 characters are for test"),
    ],
)
def test_a_bad_text_is_refused(tmp_path, content, options, message):
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        Characters(str(tmp_path / "text.txt"), length=10, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"stateful": True, "stride": 3},
            "data.stride=3: with model.stateful=true a window begins where another ends",
        ),
        ({"path": None}, "data.path: missing; set data.path=FILE"),
    ],
)
def test_a_bad_option_is_refused(path, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Characters(**{"path": path, **options})


def test_a_published_text_is_looked_for_below_the_folder_of_data_and_else_in_the_cache(tmp_path, monkeypatch, path):
    file = {"name": "text.txt", "sha256": hashlib.sha256(TEXT.encode()).hexdigest()}
    for variable, folder in (("DLTRAIN_CACHE", "cached"), ("DLTRAIN_DATA", "mine")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
        (tmp_path / folder / "play").mkdir(parents=True)
    (tmp_path / "cached/play/text.txt").write_bytes(TEXT.encode())
    assert len(Characters(name="play", file=file, length=5)) > 10
    (tmp_path / "mine/play/text.txt").write_text("b" * 100)
    assert Characters(name="play", file=file, length=5).spec.vocabulary == ("b",)


def test_windows_take_no_memory_before_they_are_read(tmp_path):
    (tmp_path / "text.txt").write_text("abcdefghij" * 20_000)
    tracemalloc.start()
    source = Characters(str(tmp_path / "text.txt"), length=500, stride=50)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) * 500 > 8 * 200_000
    assert held < 400_000 and peak < 3_000_000

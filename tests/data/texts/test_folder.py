"""A folder of text files: classes are folders, splits may be above them, and each fault names its file."""

import os

import numpy as np
import pytest

from dltrain.data.sources.text import load_text
from dltrain.errors import ConfigError, DataError
from dltrain.tasks import Binary


@pytest.fixture
def write(tmp_path):
    def files(contents):
        for name, content in contents.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path)

    return files


def test_each_folder_is_a_class(write):
    folder = write({"pos/b.txt": "fine", "pos/a.txt": "good\nfilm", "neg/c.txt": "bad", "neg/.hidden.txt": "no"})
    source = load_text(folder, task=Binary(), positive="neg")
    assert source.suggestion[0] == "binary" and len(source) == 3 and not source.published
    assert source.spec.target.vocabulary == ("pos", "neg")
    assert source.frame["text"].to_list() == ["bad", "good\nfilm", "fine"]
    assert source.read_targets().tolist() == [1, 0, 0]
    assert source.where(1).startswith(os.path.join(folder, "pos", "a.txt"))


def test_folders_of_splits_are_kept(write):
    splits = ("train", "test", "val")
    whole = {f"{split}/{label}/{i}.txt": f"{split} {i}" for split in splits for label in "ab" for i in "01"}
    source = load_text(write(whole), task=Binary())
    found = {name: [source.frame["text"][int(i)] for i in places] for name, places in source.published.items()}
    assert found == {"test": ["test 0", "test 1"] * 2, "validation": ["val 0", "val 1"] * 2}


def test_a_changed_folder_is_another_one(write):
    folder = write({"a/1.txt": "one", "b/1.txt": "two"})
    before = load_text(folder, task=Binary()).fingerprint
    assert load_text(folder, task=Binary()).fingerprint == before
    write({"b/1.txt": "three"})
    assert load_text(folder, task=Binary()).fingerprint != before
    write({"b/2.txt": ""})
    assert len(load_text(folder, task=Binary())) == 3


@pytest.mark.parametrize(
    ("files", "keys", "error", "message"),
    [
        ({"readme.md": "x"}, {}, DataError, r"has no texts; expected CLASS/NAME.txt, or SPLIT/CLASS/NAME.txt"),
        ({"a/1.txt": "x"}, {}, DataError, "single value, a"),
        ({"a/1.txt": "x", "b/1.txt": b"caf\xe9"}, {}, DataError, r"1.txt: byte 3 is not UTF-8 .*iconv"),
        ({"a/1.txt": "x"}, {"text": "t"}, ConfigError, "data.text=t: data.path is a folder"),
        ({"a/1.txt": "x"}, {"test_path": "t.tsv"}, ConfigError, "data.test_path=t.tsv: data.path is a folder"),
    ],
)
def test_faults_are_named(write, files, keys, error, message):
    with pytest.raises(error, match=message):
        load_text(write(files), task=Binary(), **keys)


def test_texts_with_marks_and_strange_characters_are_read(write):
    source = load_text(
        write({"a/1.txt": b"\xef\xbb\xbfmarked", "b/1.txt": "nul\0 😀", "b/2.txt": ""}), task=Binary()
    )
    arrays, encoder = source.encode(np.arange(3))
    assert source.frame["text"].to_list() == ["marked", "nul\0 😀", ""]
    assert arrays.arrays["inputs"]["length"].tolist() == [1, 3, 1] and encoder.column == "text"

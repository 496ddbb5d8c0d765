"""The shards that a path stands for."""

import pytest

from dltrain.data.shards.names import Shard, common_folder, expand, local_shards, short_names, splits_of
from dltrain.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{008..011}.tar", ["a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"]),
        ("a-{9..10}.tar", ["a-9.tar", "a-10.tar"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
        ("{a,b{0..1}}.tar", ["a.tar", "b0.tar", "a.tar", "b1.tar"]),
    ],
)
def test_braces_are_expanded_in_order(pattern, expected):
    assert sorted(expand(pattern, "data.path")) == sorted(expected)
    if "b{" not in pattern:
        assert expand(pattern, "data.path") == expected


@pytest.mark.parametrize("pattern", ["a{1..0}.tar", "a{0..1", "a{}.tar", "a{x}.tar", "a{0..9999999}.tar"])
def test_wrong_braces_are_refused_by_their_key(pattern):
    with pytest.raises(ConfigError, match=r"data\.test_path=a\{"):
        expand(pattern, "data.test_path")


def test_a_folder_and_a_pattern_are_sorted_and_hidden_files_are_left_out(tmp_path):
    for name in ("b.tar", "a.tar", ".c.tar", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    for path in (str(tmp_path), f"{tmp_path}/*.tar", f"file://{tmp_path}"):
        assert [s.file for s in local_shards(path, endings=[".tar"], key="data.path")] == ["a.tar", "b.tar"]


@pytest.mark.parametrize(
    ("path", "what"),
    [("lost.tar", "a shard is lost"), ("lost-*.tar", "no file fits"), ("empty", r"has no files \*\.tar")],
)
def test_what_is_not_there_is_named(tmp_path, path, what):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=rf"{path.replace('*', '.')} \(data\.path\).*{what}"):
        local_shards(str(tmp_path / path), endings=[".tar"], key="data.path")


def shards(*names):
    return [Shard(name, 1, "") for name in names]


def test_names_are_splits_only_if_all_are():
    assert splits_of(shards("a/train-0.tar", "a/val_0.tar", "a/test0.tar")) == ["train", "validation", "test"]
    for names in (("train-0.tar", "train-1.tar"), ("train-0.tar", "more-0.tar"), ("val-0.tar", "test-0.tar")):
        assert splits_of(shards(*names)) == [""] * 2


def test_names_are_shortened_by_the_folder_that_all_have_in_common():
    found = shards("s3://b/x/train/0.tar", "s3://b/x/test/0.tar")
    assert (common_folder(found), short_names(found)) == ("s3://b/x", ["train/0.tar", "test/0.tar"])
    assert short_names(shards("/a/0.tar")) == ["0.tar"]

"""Parquet files by their split: images with the names of their classes, tables, and what is missing."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from tiny_images import encoded, pixels

from dltrain.data.sources.huggingface import load_huggingface
from dltrain.errors import ConfigError, DataError
from dltrain.types import Kind


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DLTRAIN_CACHE", str(tmp_path / "cache"))


def images(seeds, labels):
    held = [{"bytes": encoded(pixels(seed=seed)), "path": f"{seed}.png"} for seed in seeds]
    return pl.DataFrame({"image": held, "label": labels})


def write(path, frame, names=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    frame.write_parquet(path, **({"metadata": {"huggingface": json.dumps(held)}} if names else {}))


@pytest.mark.parametrize("names", [None, ["cat", "dog", "owl"]])
def test_images_of_all_shards_and_splits(tmp_path, names):
    root = tmp_path / "set"
    write(root / "data/train-00000-of-00002.parquet", images([0, 1], [1, 0]), names)
    write(root / "data/train-00001-of-00002.parquet", images([2], [1]))
    write(root / "data/test-00000-of-00001.parquet", images([3], [0]))
    source = load_huggingface(str(root), size=8)
    found = source.read(np.arange(4))
    assert source.published["test"].tolist() == [3]
    assert source.spec.classes == (tuple(names) if names else ("0", "1"))
    assert source.spec.input.kind is Kind.IMAGE
    np.testing.assert_array_equal(found["inputs"], np.stack([pixels(seed=seed) for seed in range(4)]))
    np.testing.assert_array_equal(found["targets"], [1, 0, 1, 0])


def test_a_table(tmp_path):
    frame = pl.DataFrame({"x": np.arange(30.0) ** 2, "label": ["a", "b", "c"] * 10})
    write(tmp_path / "train.parquet", frame)
    write(tmp_path / "validation.parquet", frame[:3])
    source = load_huggingface(str(tmp_path))
    assert source.suggestion[0] == "classification"
    assert source.published["validation"].tolist() == [30, 31, 32]
    assert source.encode(np.arange(30))[0].read(np.arange(2))["inputs"].tolist() == [[0], [1]]


def test_a_name_on_the_hub_needs_the_package_and_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'dltrain\[huggingface\]'"):
        load_huggingface("nobody/nothing")


def test_a_name_on_the_hub_is_downloaded_once(monkeypatch):
    calls = []

    def load_dataset(name):
        calls.append(name)
        return {"train": SimpleNamespace(to_parquet=lambda path: write(path, images([0, 1], [1, 0])))}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, __spec__="there"))
    for _ in range(2):
        assert len(load_huggingface("somebody/set", size=8)) == 2
    assert calls == ["somebody/set"]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"test": images([0], [0])}, {}, "has no Parquet file of the training split"),
        ({"part": images([0], [0])}, {}, "expected the name of a split: train, validation or test"),
        (
            {"train": images([0, 1], [0, 1])},
            {"target": "kind"},
            "data.target=kind: train.parquet has no such column",
        ),
        ({"train": images([0, 1], [0, None])}, {}, "label is missing in row 2"),
        (
            {"train": images([0], [0]).with_columns(image=pl.lit({"bytes": b"x", "path": ""}))},
            {},
            "train.parquet, row 1: is not a JPEG",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path, files, options, message):
    for name, frame in files.items():
        write(tmp_path / f"{name}.parquet", frame)
    with pytest.raises(DataError) as caught:
        load_huggingface(str(tmp_path), **options)
    assert message in str(caught.value)

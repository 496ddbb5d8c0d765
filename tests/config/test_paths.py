"""Paths of data that are saved as absolute ones."""

import pytest
from omegaconf import OmegaConf

from dltrain.config.call import Composed
from dltrain.config.paths import with_absolute_paths


def saved(tmp_path, monkeypatch, **data):
    (tmp_path / "shards").mkdir()
    (tmp_path / "a.csv").touch()
    monkeypatch.chdir(tmp_path)
    config = {"data": data}
    found = with_absolute_paths(Composed(config, OmegaConf.to_yaml(config)))
    assert OmegaConf.to_container(OmegaConf.create(found.text))["data"] == found.config["data"]
    return found.config["data"]


@pytest.mark.parametrize("path", ["a.csv", "shards", "shards/a-{0..9}.tar", "part-*.tar", "shards/*.tar"])
@pytest.mark.parametrize("key", ["path", "test_path"])
def test_paths_and_patterns_of_this_folder_become_absolute(tmp_path, monkeypatch, path, key):
    assert saved(tmp_path, monkeypatch, **{key: path}) == {key: f"{tmp_path}/{path}"}


@pytest.mark.parametrize(
    "path", ["lost.csv", "lost/a-{0..9}.tar", "lost/*.tar", "s3://bucket/a-{0..9}.tar", "memory://a*", "/x/*.tar"]
)
def test_other_words_stay(tmp_path, monkeypatch, path):
    assert saved(tmp_path, monkeypatch, path=path) == {"path": path}


def test_what_is_in_a_root_stays(tmp_path, monkeypatch):
    found = saved(tmp_path, monkeypatch, root="shards", path="*.tar", test_path="*.tar")
    assert found == {"root": f"{tmp_path}/shards", "path": "*.tar", "test_path": "*.tar"}

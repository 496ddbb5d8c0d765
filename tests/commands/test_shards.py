"""Tar shards from the command line: the losses of a folder of images, and shards that change or get lost."""

import json
import os
import shutil

import pytest
from tar_shards import examples, tar_bytes, write_shards

from dltrain.data.shards import members

WORDS = ("data.size=8", "recipe=none", "model=linear", "batch_size=8", "data.split=random", "quiet=true")
LAZY = ("data=webdataset", "data.path=shards", "data.decode=always", "data.feed=streamed")

pytestmark = pytest.mark.usefixtures("without_figures", "unoptimised")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, dltrain, quickly):
    """Two shards of one class each, the same images in folders, and a run of one epoch on the shards."""
    root = tmp_path_factory.mktemp("shards")
    (root / "shards").mkdir()
    for i, name in enumerate(("cat", "dog")):
        found = examples(i * 20, 20, classes=(name,))
        (root / f"shards/part-{i}.tar").write_bytes(tar_bytes(found))
        (root / "photos" / name).mkdir(parents=True)
        for member in found:
            if member.endswith(".png"):
                (root / "photos" / name / member).write_bytes(found[member])
    with quickly():
        result = dltrain(*LAZY, *WORDS, "epochs=1", "output_dir=half", cwd=root, figures=False)
    assert result.code == 0, result.err
    return root


def summary(run):
    found = json.loads((run / "summary.json").read_text())
    return found["test"], found["validation"], found["hash"]


def test_a_resumed_run_has_the_losses_of_a_folder_of_images(dltrain, folder):
    shutil.copytree(folder / "half", folder / "whole")
    for words in (("data=images", "data.path=photos", *WORDS, "output_dir=photos"), ("resume", "whole")):
        result = dltrain(*words, "epochs=2", cwd=folder)
        assert result.code == 0, result.err
    assert summary(folder / "whole") == summary(folder / "photos")
    files = json.loads((folder / "whole/data.json").read_text())["files"]
    sizes = {path.name: path.stat().st_size for path in (folder / "shards").iterdir()}
    assert {name: size for name, (size, _) in files.items()} == sizes


def test_a_changed_and_a_lost_shard_are_named_when_a_run_is_resumed(dltrain, folder):
    shutil.copytree(folder / "half", folder / "run")
    path, other = folder / "shards/part-1.tar", folder / "shards/part-2.tar"
    before = path.read_bytes()

    def resumed():
        result = dltrain("resume", "run", "epochs=2", cwd=folder)
        assert result.code == 3
        return " ".join(result.err.split())

    try:
        path.write_bytes(tar_bytes(examples(30, 20, classes=("dog",))))
        assert "fingerprint changed: part-1.tar has another content" in resumed()
        path.unlink()
        other.write_bytes(tar_bytes(examples(30, 20, classes=("dog",))))
        assert "part-1.tar is gone, part-2.tar is new" in resumed()
        other.write_bytes(before)  # the same content by another name is the same data
        assert dltrain("evaluate", "run", cwd=folder).code == 0
    finally:
        path.write_bytes(before)
        other.unlink(missing_ok=True)


@pytest.mark.slow
def test_a_shard_that_is_lost_while_a_run_trains_ends_it_with_its_name(dltrain, folder, tmp_path, monkeypatch):
    paths = write_shards(tmp_path / "s", 4, 10)
    monkeypatch.setattr(members, "MOST_OPEN", 1)
    read, count = members.Members.read, []

    def loses(self, *place):
        count.append(place)
        if len(count) == 60:
            os.unlink(paths[2])
        return read(self, *place)

    monkeypatch.setattr(members.Members, "read", loses)
    words = ("data=webdataset", f"data.path={tmp_path}/s", "data.decode=always", "data.feed=streamed")
    result = dltrain(*words, *WORDS, "epochs=50", "output_dir=lost", cwd=folder)
    assert result.code == 3
    assert f"{paths[2]}: the shard is gone" in " ".join(result.err.split())

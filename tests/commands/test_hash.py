"""The hash identifies the last checkpoint's state, and nothing else."""

import re
import shutil

import pytest


def test_it_is_the_hash_of_the_summary(dltrain, digits_run):
    result = dltrain("hash", str(digits_run.folder))
    assert (result.code, result.err) == (0, "")
    assert result.out == f"{digits_run.summary['hash']}  step 26\n"
    assert re.fullmatch(r"[0-9a-f]{64}", digits_run.summary["hash"])


def test_it_does_not_depend_on_the_path_or_name_of_the_run(dltrain, digits_run, tmp_path):
    shutil.copytree(digits_run.folder, tmp_path / "a run, moved")
    (tmp_path / "a run, moved" / "config.yaml").write_text("name: renamed\n")
    assert dltrain("hash", "a run, moved", cwd=tmp_path).out == dltrain("hash", str(digits_run.folder)).out


@pytest.mark.parametrize("words", [(), ("a", "b"), ("run=3",), ("nowhere",), ("nowhere", "seed=1")])
def test_it_takes_one_run_folder(dltrain, words, tmp_path):
    result = dltrain("hash", *words, cwd=tmp_path)
    assert result.code == 2
    assert "dltrain hash outputs/DATE/TIME-NAME" in result.err or "nowhere: folder not found" in result.err


def test_without_a_checkpoint_it_exits_with_4(dltrain, digits_run, tmp_path):
    folder = shutil.copytree(digits_run.folder, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    result = dltrain("hash", "run", cwd=tmp_path)
    assert result.code == 4 and result.out == ""
    assert "has no usable checkpoint" in result.err

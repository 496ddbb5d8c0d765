"""`ensemble.json` is read again, and damaged or replaced members are named."""

import json
import shutil

import pytest

import dltrain as package
from dltrain.errors import CheckpointError, ConfigError
from dltrain.inference.ensemble.saved import read_ensemble
from dltrain.runs.folder import existing
from dltrain.runs.sealed import read_sealed, seal


@pytest.fixture
def copied(made, tmp_path):
    """The ensemble of two seeds and its runs, in another place."""
    for name in ("seeds", "sweep", "seed"):
        shutil.copytree(made.folder / name, tmp_path / name)
    return tmp_path


def edit(folder, **changes):
    saved = read_sealed(folder / "ensemble.json")
    (folder / "ensemble.json").write_text(json.dumps(seal({**saved, **changes})))


def test_it_says_what_the_members_are(made):
    saved = read_ensemble(made.folder / "seeds")
    assert [member.relative for member in saved.members] == ["../sweep/0", "../seed"] or [
        member.relative for member in saved.members
    ] == ["../seed", "../sweep/0"]
    for member in saved.members:
        run = package.open_run(member.path)
        assert (member.step, member.run, member.weight) == (run.step, run.folder.run_id(), 0.5)
        split, _, name = saved.monitor.partition("/")
        assert member.value == run.summary["best"][split][name]
    assert saved.temperature == saved.calibration.temperature == made.seeds.temperature
    assert set(saved.results) == {"validation", "test"} and read_ensemble(made.folder / "folds").folds == 2


def test_a_folder_that_was_moved_with_its_runs_is_used_there(copied):
    assert all(run.path.is_relative_to(copied) for run in package.open_ensemble(copied / "seeds").runs)


def test_an_ensemble_that_was_moved_alone_finds_its_runs_where_they_were(copied, made):
    shutil.rmtree(copied / "sweep")
    assert {run.path.is_relative_to(copied) for run in package.open_ensemble(copied / "seeds").runs} == {
        True,
        False,
    }


def test_a_run_that_is_gone_or_another_one_is_named(copied):
    saved = read_sealed(copied / "seeds/ensemble.json")
    first = {**saved["members"][0], "path": str(copied / "nowhere"), "relative": "../nowhere"}
    edit(copied / "seeds", members=[first, saved["members"][1]])
    with pytest.raises(CheckpointError, match="nowhere is gone"):
        package.open_ensemble(copied / "seeds")
    other = {
        **saved["members"][0],
        "path": saved["members"][1]["path"],
        "relative": saved["members"][1]["relative"],
    }
    edit(copied / "seeds", members=[other])
    with pytest.raises(CheckpointError, match="is another run than the one"):
        package.open_ensemble(copied / "seeds")


def test_weights_that_changed_are_noticed(copied):
    saved = read_sealed(copied / "seeds/ensemble.json")
    edit(copied / "seeds", members=[{**saved["members"][0], "hash": "0" * 64}])
    with pytest.raises(CheckpointError, match="has other weights"):
        package.open_ensemble(copied / "seeds")


@pytest.mark.parametrize(
    "change",
    [{"version": 9}, {"members": []}, {"temperature": 0}, {"members": [{"path": 1}]}, {"calibration": [1]}],
)
def test_a_damaged_file_is_named(copied, change):
    edit(copied / "seeds", **change)
    with pytest.raises(CheckpointError, match=r"ensemble\.json"):
        read_ensemble(copied / "seeds")
    (copied / "seeds/ensemble.json").write_text('{"version": 1')
    with pytest.raises(CheckpointError, match=r"ensemble\.json cannot be read"):
        read_ensemble(copied / "seeds")


def test_commands_on_a_run_say_that_it_is_an_ensemble(made):
    with pytest.raises(ConfigError, match="is an ensemble of runs, and not a run"):
        existing(str(made.folder / "seeds"))

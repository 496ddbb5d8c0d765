"""The study of a search: packages and settings are checked first, and a killed process leaves a usable journal."""

import importlib.util
import math

import pytest

from dltrain.errors import ConfigError
from dltrain.sweep.space import Dimension
from dltrain.sweep.study import (
    JOURNAL,
    check_settings,
    join_study,
    make_samplers,
    mend_journal,
    open_study,
    should_prune,
)

RATE, DROPOUT = Dimension("rate", (), 0.1, 0.9), Dimension("dropout", (), 0.0, 0.5)
USUAL = {"sampler": "tpe", "pruner": "none", "storage": None, "objectives": []}


@pytest.mark.parametrize(
    ("changed", "space", "message"),
    [
        ({}, (), "nothing to search"),
        ({"sampler": "cmaes"}, (RATE,), "ranges of two or more numbers"),
        ({"sampler": "cmaes", "objectives": ["a/b", "c"]}, (RATE, DROPOUT), "one objective only"),
        ({"pruner": "asha", "objectives": ["a/b", "c"]}, (RATE,), "sweep.pruner=asha: has one objective only"),
        ({"storage": "study.db"}, (RATE,), "must be a URL, such as sqlite:///study.db"),
    ],
)
def test_settings_that_do_not_suit_are_refused(monkeypatch, changed, space, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(ConfigError, match=message):
        check_settings(USUAL | changed, space)


@pytest.mark.parametrize(
    ("sampler", "missing", "install"),
    [("tpe", "optuna", r"dltrain\[sweep\]"), ("cmaes", "cmaes", r"dltrain\[sweep\]"), ("gp", "torch", "torch")],
)
def test_a_missing_package_is_named_with_the_way_to_install_it(monkeypatch, sampler, missing, install):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(ConfigError, match=f"needs the package {missing}: pip install .*{install}"):
        check_settings(USUAL | {"sampler": sampler}, (RATE, DROPOUT))


def trial_of(folder) -> int:
    study, _ = open_study(None, folder, name="s", directions=["minimize"], pruner="none")
    study.sampler = make_samplers("random", 0)(0, 0)
    study.tell(study.ask({"rate": RATE.distribution()}), 1.0)
    return len(study.trials)


def test_a_journal_with_half_a_line_and_a_lock_is_mended(tmp_path):
    assert trial_of(tmp_path) == 1
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code": 4, "wor')
    (tmp_path / f"{JOURNAL}.lock").touch()
    assert trial_of(tmp_path) == 2
    assert (tmp_path / JOURNAL).read_bytes().startswith(whole) and not (tmp_path / f"{JOURNAL}.lock").exists()


def test_a_journal_in_which_another_process_wrote_on_after_half_a_line_is_mended(tmp_path):
    assert trial_of(tmp_path) == 1
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code": 7, "wor' + whole.splitlines(keepends=True)[-1])
    assert trial_of(tmp_path) == 2
    assert (tmp_path / JOURNAL).read_bytes().startswith(whole)


def test_another_process_reports_to_a_study_without_mending_its_journal(tmp_path):
    """A lock or half a line may be what the process of the search is just writing."""
    study, storage = open_study(None, tmp_path, name="s", directions=["minimize"], pruner="median")
    study.sampler = make_samplers("random", 0)(0, 0)
    for value in (*[1.0] * 5, 3.0):
        trial = study.ask({"rate": RATE.distribution()})
        joined, shared = join_study(None, tmp_path, name="s", pruner="median")
        pruned = should_prune(joined, shared, trial._trial_id, 1, value)
        study.tell(trial.number, value)
    assert pruned and storage.get_trial(trial._trial_id).intermediate_values == {1: 3.0}
    assert not should_prune(joined, shared, trial._trial_id, 2, math.nan)
    before = (tmp_path / JOURNAL).read_bytes() + b'{"op_code": 4, "wor'
    (tmp_path / JOURNAL).write_bytes(before)
    join_study(None, tmp_path, name="s", pruner="median")
    assert (tmp_path / JOURNAL).read_bytes() == before
    with pytest.raises(ConfigError, match="cannot be opened"):
        join_study(None, tmp_path, name="another", pruner="median")


def test_a_whole_journal_is_left_as_it_is(tmp_path):
    path = tmp_path / JOURNAL
    mend_journal(path)
    assert not path.exists()
    path.write_bytes(b"{}\n")
    mend_journal(path)
    assert path.read_bytes() == b"{}\n"


def test_a_storage_that_cannot_be_opened_is_an_error_of_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"^sweep.storage=sqlite:////no/such/x.db: cannot be opened"):
        open_study("sqlite:////no/such/x.db", tmp_path, name="s", directions=["minimize"], pruner="none")


@pytest.mark.parametrize("pruner", ["none", "median", "hyperband", "wilcoxon", "asha"])
def test_each_pruner_opens(tmp_path, pruner):
    study, _ = open_study(None, tmp_path, name="s", directions=["maximize"], pruner=pruner)
    assert study.directions[0].name == "MAXIMIZE"

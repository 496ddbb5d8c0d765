"""The study of a search: packages and settings are checked first, and a killed process leaves a usable journal."""

import importlib.util

import pytest

from dltrain.errors import ConfigError
from dltrain.sweep.space import Dimension
from dltrain.sweep.study import JOURNAL, check_settings, make_samplers, mend_journal, open_study

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

"""What belongs to the identity of a run, and what keeps it from having one."""

import pytest
import yaml

from dltrain.build.identity import config_digest, is_same_code
from dltrain.build.provenance import describe_run

CONFIG = {
    "seed": 0,
    "output_dir": None,
    "init_from": None,
    "stop": {"time": None},
    "trust": [],
    "data": {"_target_": "d", "path": "/data/x.csv", "preprocess": []},
    "model": {"_target_": "m", "widths": [4]},
    "runtime": {"threads": None, "precision": "float32"},
    "sweep": {"trials": 3},
}
DATA = {"fingerprint": "a"}


def text(**changes) -> str:
    return yaml.safe_dump({**CONFIG, **changes})


def test_only_what_decides_on_a_result_is_compared():
    assert config_digest(text()) == config_digest(text(output_dir="x", sweep={"trials": 9}, tags=["a"], name="b"))
    assert config_digest(text()) == config_digest(text(runtime={"threads": 3, "precision": "float32"}))
    assert config_digest(text()) != config_digest(text(seed=1))
    assert config_digest(text()) != config_digest(text(runtime={"threads": None, "precision": "bfloat16"}))


def test_a_result_that_depends_on_more_than_is_compared_has_no_identity(tmp_path):
    (tmp_path / "weights.npz").touch()
    for changes in (
        {"init_from": "outputs/run"},
        {"stop": {"time": "5min"}},
        {"seed": "${oc.env:SEED}"},
        {"model": {"_target_": "m", "weights": str(tmp_path / "weights.npz")}},
        {"model": {"_target_": "m", "weights": {"of": [str(tmp_path)]}}},
        {"data": {"_target_": "d", "preprocess": [{"file": str(tmp_path / "weights.npz")}]}},
    ):
        assert config_digest(text(**changes)) is None, changes
    assert config_digest(text(data={"_target_": "d", "path": str(tmp_path / "weights.npz"), "preprocess": []}))


def test_a_run_that_goes_on_in_another_way_loses_its_identity(monkeypatch):
    first = describe_run("r", text(), (), data=DATA)
    assert (
        first["identity"]
        and first["identity"] == describe_run("s", text(), (), data=DATA, before=first)["identity"]
    )
    for config, data in ((text(seed=1), DATA), (text(), {"fingerprint": "b"})):
        second = describe_run("r", config, (), data=data, before=first)
        assert second["identity"] is None
        assert describe_run("r", config, (), data=data, before=second)["identity"] is None
    assert describe_run("r", text(), (), data=DATA, alone=False)["identity"] is None
    assert describe_run("r", text(), (), data=DATA, before={"run": "r"})["identity"] is None  # of an older dltrain
    edited = {**first, "code": {"own": "1"}}
    monkeypatch.setattr("dltrain.build.provenance._code", lambda trust: {"own": "2"})
    assert describe_run("r", text(), (), data=DATA, before=edited)["identity"] is None


@pytest.mark.parametrize("name", ["yaml.tokens", "no_such_module_of_anybody", "json.no_such_module"])
def test_code_that_is_not_found_or_not_recorded_is_not_the_same(name):
    assert is_same_code({}, ()) and not is_same_code({}, ("yaml",))
    assert not is_same_code({name: "0"}, (name,))

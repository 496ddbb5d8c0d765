"""Faults in the examples of a user's own source: found by the command before a folder is created."""

import pytest

from dltrain.data import scan
from dltrain.report import start

SOURCE = """
import numpy as np

from dltrain.tasks import Classification
from dltrain.types import Feature, Kind, Spec


class Planted:
    fingerprint = "planted"
    published = {}
    spec = Spec(
        {"numbers": Feature(Kind.NUMBERS, (2,), "float32")},
        {"label": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c"))},
        Classification(),
    )

    def __init__(self, fault):
        self.fault = fault

    def __len__(self):
        return 40

    def read(self, indices):
        inputs = np.stack([indices, indices % 7], 1).astype(np.float32)
        targets = (indices % 3).astype(np.int32)
        here = indices == 33
        if self.fault == "nan":
            inputs[here, 1] = np.nan
        elif self.fault == "dtype":
            targets = targets.astype(np.int64 if here.any() else np.int32)
        elif self.fault != "none":
            targets[here] = int(self.fault)
        return {"inputs": inputs, "targets": targets}
"""
MESSAGES = {
    "nan": "inputs of example 33, column 1: nan is not a finite number",
    "-1": "the label of example 33 is -1, expected 0..2",
    "3": "the label of example 33 is 3, expected 0..2",
    "dtype": "targets{} are int64 [] per example, but the source's spec says int32 []",
}


@pytest.fixture
def run_with_fault(dltrain, tmp_path, monkeypatch):
    """`run_with_fault(fault, feed)` runs a command on 40 examples, read ten at a time; number 33 is bad."""
    monkeypatch.setattr(scan, "MOST_EXAMPLES", 10)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planting.py").write_text(SOURCE)
    (tmp_path / "conf/data").mkdir(parents=True)
    (tmp_path / "conf/data/planted.yaml").write_text(
        "# Examples with a fault\n_target_: planting.Planted\nfault: none\ntask: classification\n"
    )
    own = ("--config-dir", "conf", "trust=[planting]", "data=planted", "model=linear", "steps=1", "output_dir=run")

    def run(fault, feed, *more):
        return dltrain(*own, f"data.fault='{fault}'", f"data.feed={feed}", *more, cwd=tmp_path)

    return run


@pytest.mark.parametrize("feed", ["resident", "streamed"])
@pytest.mark.parametrize("fault", MESSAGES)
def test_a_bad_example_is_named_and_no_folder_is_created(run_with_fault, tmp_path, fault, feed, count):
    count.tried += 1
    found = run_with_fault(fault, feed)
    block = " from example 30 on" if feed == "streamed" else ""
    assert found.code == 3 and MESSAGES[fault].format(block) in found.err, found.err
    assert found.out == "" and not (tmp_path / "run").exists()
    count.survived += 1


def test_the_same_examples_without_a_fault_are_accepted(run_with_fault, monkeypatch):
    monkeypatch.setattr(start, "compile_training", lambda program: 0)
    assert run_with_fault("none", "streamed", "dry_run=true").code == 0

"""The signature describes inputs, outputs, fitted values and files; its dates end with the month."""

import hashlib
import json
from datetime import date

import pytest

from dltrain.errors import CheckpointError
from dltrain.inference.export.signature import read_signature, written
from dltrain.runs.sealed import seal


def test_it_describes_what_the_model_takes_and_returns(case):
    found = read_signature(case.export)
    assert found["name"] == "model" and found["task"]["name"] == "classification"
    assert found["classes"] == ["high", "low", "mid"] and found["precision"] == "float32"
    numbers, categories = found["inputs"]["numbers"], found["inputs"]["categories"]
    assert numbers["shape"] == [None, len(numbers["names"])] and numbers["dtype"] == "float32"
    assert numbers["names"][:2] == ["rooms", "size"] and "rooms is missing" in numbers["names"]
    assert dict(zip(categories["names"], categories["levels"], strict=True))["new"] == ["false", "true"]
    assert found["outputs"]["probabilities"] == {
        "shape": [None, 3],
        "dtype": "float32",
        "unit": "probability of each class or label, 0 to 1",
    }
    text = json.dumps(found["classes"], separators=(",", ":"))
    assert found["hashes"]["level"] == hashlib.sha256(text.encode()).hexdigest()
    for name, about in found["files"].items():
        content = (case.export / name).read_bytes()
        assert about == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert sorted(p.name for p in case.export.iterdir()) == sorted([*found["files"], "signature.json"])


@pytest.mark.parametrize(
    ("day", "until"), [((2026, 1, 15), "2026-07-15"), ((2026, 8, 31), "2027-02-28"), ((2026, 12, 1), "2027-06-01")]
)
def test_an_export_is_readable_for_six_months(day, until):
    assert written(date(*day)) == {"written": date(*day).isoformat(), "readable_until": until}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "was not written by dltrain export"),
        ({"version": 99}, "version 99 is not known; this dltrain reads version 1"),
        ({"inputs": []}, r"is damaged: inputs is \[\]"),
    ],
)
def test_another_signature_is_refused(case, tmp_path, change, message):
    found = json.loads((case.export / "signature.json").read_text())
    del found["checksum"]
    (tmp_path / "signature.json").write_text(json.dumps(seal(found | change)))
    with pytest.raises(CheckpointError, match=message):
        read_signature(tmp_path)

"""`dltrain verify` reports which checkpoints are intact: 0 if all are, else 4."""

import shutil

import pytest

from dltrain.runs import checkpoint


@pytest.fixture
def run(digits_run, tmp_path):
    """A copy of a run that may be damaged."""
    shutil.copytree(digits_run.folder, tmp_path / "run")
    return tmp_path / "run"


def test_a_whole_run_verifies(dltrain, run):
    result = dltrain("verify", "run", cwd=run.parent)
    assert result.code == 0 and result.err == ""
    lines = result.out.splitlines()
    assert len(lines) == len(checkpoint.steps(run / "checkpoints"))
    assert all(line.endswith("  intact") for line in lines)


def test_a_flipped_bit_is_found_and_nothing_is_changed(dltrain, run):
    last = sorted((run / "checkpoints").iterdir())[-1]
    arrays = (p for p in last.rglob("*") if p.is_file() and not p.name.startswith("manifest.json"))
    file = max(arrays, key=lambda p: p.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (run / "checkpoints" / ".writing_00000099").mkdir()
    before = sorted(run.rglob("*"))
    result = dltrain("verify", "run", cwd=run.parent)
    assert result.code == 4
    assert f"{last.name}  {file.relative_to(last)} was altered" in result.out
    assert ".writing_00000099  not a checkpoint" in result.out
    assert "checkpoints are damaged" in result.err
    assert sorted(run.rglob("*")) == before


def test_a_run_without_checkpoints_does_not_verify(dltrain, run):
    shutil.rmtree(run / "checkpoints")
    assert dltrain("verify", "run", cwd=run.parent).code == 4
    assert dltrain("verify", cwd=run.parent).code == 2

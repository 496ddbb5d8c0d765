"""`dltrain doctor` prints installed versions, and each known problem with its remedy."""

import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import jax
import pytest

from dltrain.devices import doctor as diagnosis
from dltrain.devices import memory


def test_a_sound_machine_has_no_problem(dltrain, tmp_path):
    result = dltrain("doctor", cwd=tmp_path)
    assert result.code == 0
    for text in (f"jax {jax.__version__}", "cpu", "cores", "free", "not a git repository", "no problem found"):
        assert text in result.out
    assert list(tmp_path.iterdir()) == []
    assert dltrain("doctor", "everything", cwd=tmp_path).code == 2


@pytest.mark.parametrize(
    ("problem", "advice"),
    [
        (lambda patch: patch.setenv("JAX_ENABLE_X64", "1"), "unset it"),
        (lambda patch: patch.setenv("JAX_DISABLE_JIT", "true"), "unset it"),
        (lambda patch: patch.setattr(memory, "host_room", lambda: memory.Room(2**20, "of a test's")), "jax needs"),
        (lambda patch: patch.setattr(Path, "exists", lambda path: True), "jax[cuda13]"),
        (lambda patch: patch.setattr(diagnosis, "cache_folder", lambda: Path("/proc/none")), "cannot be written"),
        (
            lambda patch: patch.setattr(metadata, "version", lambda name: "9.0" if name == "optax" else "0.10.2"),
            "optax 9.0 is installed",
        ),
    ],
)
def test_each_problem_is_named_with_what_helps(dltrain, monkeypatch, tmp_path, problem, advice):
    problem(monkeypatch)
    result = dltrain("doctor", cwd=tmp_path)
    assert result.code == 0 and advice in result.out and "no problem found" not in result.out


def test_the_commit_is_named_and_whether_files_differ_from_it(dltrain, monkeypatch, tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "mine.py"), (*who, "commit", "-qm", "Begin")):
        subprocess.run(["git", *words], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert diagnosis.diagnose()["git"] == commit
    (tmp_path / "mine.py").write_text("changed = True\n")
    result = dltrain("doctor")
    assert f"git       {commit}+\n" in result.out

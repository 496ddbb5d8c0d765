"""Processes in odd surroundings: nobody reads the output, the folder is gone, the environment is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dltrain.cli.completion import run_folders
from dltrain.cli.output import Output

WORDS = ("data=iris", "data.split_seed=7", "model=linear", "epochs=30", "eval_every=1", "output_dir=run")
DLTRAIN = f"{sys.executable} -m dltrain"


def shell(line: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    bash = ["bash", "-c", f"set -o pipefail; {line}"]
    return subprocess.run(bash, cwd=cwd, capture_output=True, text=True, timeout=100, env={**os.environ, **env})


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_end_training(tmp_path: Path) -> None:
    done = shell(f"{DLTRAIN} {' '.join(WORDS)} | head -3", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["stop_reason"] == "all steps done"
    log = (tmp_path / "run" / "train.log").read_text()
    assert "validation" in log and "run folder" in log


@pytest.mark.slow
def test_no_streams_at_all_are_no_reason_not_to_train(tmp_path: Path) -> None:
    done = shell(f"{DLTRAIN} {' '.join(WORDS)} >&- 2>&- <&-", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "run" / "summary.json").exists()
    assert "validation" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_said_at_the_end(tmp_path: Path) -> None:
    done = shell(f"{DLTRAIN} list model > /dev/full", tmp_path)
    assert done.returncode == 6 and done.stderr.startswith("dltrain: standard output: No space left"), done.stderr


def test_what_nobody_reads_is_logged_by_line(caplog: pytest.LogCaptureFixture) -> None:
    lost = Output(None)
    assert lost.write("a\nb") == 3 and lost.write("c\n\n") == 3
    lost.flush()
    assert [record.message for record in caplog.records] == ["a", "bc"] and not lost.isatty()


ENVIRONMENTS = {
    "JAX_DISABLE_JIT": ("1", "JAX_DISABLE_JIT is set: dltrain has to compile; unset it"),
    "JAX_ENABLE_X64": ("maybe", "JAX_ENABLE_X64=maybe: must be true or false; unset JAX_ENABLE_X64"),
    "XLA_FLAGS": ("--xla_of_nobody=1", "XLA_FLAGS: XLA does not know --xla_of_nobody=1; remove it"),
    "JAX_PLATFORMS": ("quantum", "JAX_PLATFORMS=quantum asks for it; unset JAX_PLATFORMS"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "JAX_PLATFORMS")) for name in ENVIRONMENTS]
)
def test_an_environment_in_which_jax_cannot_work_is_named(name: str, tmp_path: Path) -> None:
    value, said = ENVIRONMENTS[name]
    done = shell(f"{DLTRAIN} data=iris model=linear quiet=true dry_run=true", tmp_path, **{name: value})
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_too_small_an_address_space_is_said_before_libraries_end_the_process(tmp_path: Path) -> None:
    done = shell(f"ulimit -v 1500000; {DLTRAIN} data=iris", tmp_path)
    assert done.returncode == 8 and done.stderr.startswith("dltrain: ulimit -v allows 1.4 GiB"), done.stderr


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = shell(f"cd gone; rmdir ../gone; {DLTRAIN} data=iris", tmp_path)
    assert done.returncode == 6 and "dltrain: the current folder: No such file" in done.stderr


@pytest.mark.slow
def test_settings_of_matplotlib_do_not_reach_the_figures(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nnothing.of.this: 1\nbackend: qt5agg\n")
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "TMPDIR")}
    words = ["data=iris", "model=linear", "epochs=1", "quiet=true", "output_dir=run", "data.split_seed=7"]
    done = subprocess.run(
        [sys.executable, "-m", "dltrain", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={**env, "TMPDIR": "/does/not/exist", "COLUMNS": "10", "MPLBACKEND": "nothing"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "report" / "curves.png").stat().st_size > 1000


def test_run_folders_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dltrain) -> None:
    for place in ("outputs/2026-01-02/10-00-00-a", "outputs/2026-01-02/11-00-00-b", "other"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.yaml").write_text("")
    (tmp_path / "outputs" / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    assert sorted(run_folders("ou")) == ["outputs/2026-01-02/10-00-00-a", "outputs/2026-01-02/11-00-00-b"]
    assert run_folders("outputs/2026-01-02/11") == ["outputs/2026-01-02/11-00-00-b"]
    assert len(run_folders("")) == 3 and run_folders("zzz") == []
    for line, found in {"evaluate ": 3, "resume ou": 2, "hash other": 1}.items():
        monkeypatch.setenv("COMP_LINE", f"dltrain {line}")
        assert len(dltrain("-sc", "query=bash").out.split()) == found, line

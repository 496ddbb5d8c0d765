"""`dltrain launch local`: several processes, one console, one exit code."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dltrain.errors import ConfigError
from dltrain.launchers.local import launch
from tests.helpers.processes import COMPOSED, SMALL, losses

OPTIONS = {"processes": 2, "devices": 1, "port": 0, "restarts": 3}


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dltrain", "launch", "local", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=150)


@pytest.mark.slow
def test_shows_each_process_and_trains(tmp_path: Path) -> None:
    done = run("processes=2", "devices=2", "--", *SMALL, "steps=20", "output_dir=run", "runtime=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "0 | compute float32" in done.stdout
    assert "4 devices (data 4 x fsdp 1)" in done.stdout
    assert len(losses(tmp_path / "run")) == 20


def test_ends_all_with_the_code_of_the_first_that_failed(tmp_path: Path) -> None:
    done = run("processes=2", "--", "data=iris", "init_from=nowhere", "batch_size=24", "runtime=cpu", cwd=tmp_path)
    assert done.returncode == 2
    assert "| dltrain: nowhere: folder not found" in done.stdout
    assert "ended with exit code 2" in done.stdout


def test_refuses_more_processes_than_can_run_and_a_port_in_use() -> None:
    with pytest.raises(ConfigError, match="cores"):
        launch(["model=mlp"], {**OPTIONS, "processes": 10_000}, COMPOSED)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="is in use"):
            launch(["model=mlp"], {**OPTIONS, "port": taken.getsockname()[1]}, COMPOSED)

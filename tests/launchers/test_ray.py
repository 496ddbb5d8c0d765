"""Actors of Ray: what is refused, and a cluster on this machine that loses a process."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import SMALL

from dltrain.cli.main import main
from dltrain.errors import ConfigError
from dltrain.launchers import ray as launcher
from dltrain.launchers._process import Process, versions

OPTIONS = {"address": "local", "hosts": 2, "gpus": 0, "cpus": 1, "restarts": 3, "dry_run": False}
PYTHON = os.environ.get("DLTRAIN_RAY_PYTHON", sys.executable)


def has_ray():
    return subprocess.run([PYTHON, "-c", "import ray"], capture_output=True).returncode == 0


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "found", "message"),
    [
        ({"gpus": 1}, {"CPU": 4.0}, "hosts=2 gpus=1: needs 2 GPUs, and the cluster has 0"),
        ({"cpus": 3}, {"CPU": 4.0, "GPU": 8.0}, "hosts=2 cpus=3: needs 6 CPUs, and the cluster has 4"),
    ],
)
def test_more_processes_than_devices_are_refused(options, found, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        launcher.check_resources(found, {**OPTIONS, **options})
    launcher.check_resources({"CPU": 6.0, "GPU": 2.0}, {**OPTIONS, **options})


def test_hosts_have_to_agree_in_versions_and_share_the_folder():
    good = {"versions": versions(), "host": "a", "folder": True, "port": 1}
    launcher.check_hosts([good, good], "/f")
    with pytest.raises(ConfigError, match=r"host b has jax 0\.1 \(here"):
        launcher.check_hosts([good, {**good, "host": "b", "versions": {**versions(), "jax": "0.1"}}], "/f")
    with pytest.raises(ConfigError, match="host b has no folder /f"):
        launcher.check_hosts([good, {**good, "host": "b", "folder": False}], "/f")


def test_only_processes_of_one_machine_meet_on_loopback():
    one, other = {"host": "a", "port": 5}, {"host": "b", "port": 6}
    assert launcher._address([one, one]) == ("127.0.0.1:5", True)
    assert launcher._address([one, other]) == ("a:5", False)


def test_without_ray_it_says_what_to_install(here, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    with pytest.raises(ConfigError, match="pip install ray"):
        launcher.launch(["data=iris"], OPTIONS)
    assert not any(here.iterdir())


def test_a_dry_run_shows_what_would_start(capsys):
    assert main(["launch", "ray", "hosts=3", "dry_run=true", "--", "data=iris"]) == 0
    shown = capsys.readouterr().out
    assert "actors: 3, each with 1 CPUs" in shown and "count: 3, index: 0" in shown


@pytest.mark.slow
def test_a_process_gives_its_lines_and_its_exit_code(here):
    process = Process()
    process.start(["nothing"], environment={}, folder=str(here))
    lines, code, until = [], None, time.monotonic() + 60
    while code is None and time.monotonic() < until:
        new, code = process.look(0.5)
        lines += new
    assert code == 2 and "nothing: no such command" in "\n".join(lines)


@pytest.mark.slow
@pytest.mark.skipif(
    not has_ray(), reason="no ray: pip install ray, or name a Python that has it in DLTRAIN_RAY_PYTHON"
)
def test_a_run_whose_process_is_told_to_end_is_continued_to_the_same_hash(here):
    words = (*SMALL, "checkpoint_every=100", "log_every=100", "steps=1200")
    dltrain = [PYTHON, "-m", "dltrain"]
    of = {"env": {**os.environ, "JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1"}, "cwd": here}
    local = [*dltrain, "launch", "local", "processes=2", "--", *words, "output_dir=alone"]
    assert subprocess.run(local, **of, capture_output=True).returncode == 0
    launch = [*dltrain, "launch", "ray", "address=local", "hosts=2", "--", *words, "output_dir=interrupted"]
    with (here / "shown.txt").open("wb") as shown:
        launched = subprocess.Popen(launch, **of, stdout=shown, stderr=shown)
    until = time.monotonic() + 120
    while not [*here.glob("interrupted/checkpoints/step_*")] and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(trainings(here / "interrupted")[0], signal.SIGTERM)
    assert launched.wait(200) == 0, (here / "shown.txt").read_text()
    text = (here / "shown.txt").read_text()
    assert "interrupted by SIGTERM: saved at step" in text and "start 2: dltrain resume" in text
    hashes = [
        subprocess.run([*dltrain, "hash", name], **of, capture_output=True) for name in ("alone", "interrupted")
    ]
    assert hashes[0].returncode == 0 and hashes[0].stdout == hashes[1].stdout


def trainings(folder: Path) -> list[int]:
    """Return the processes that train into a folder, but not the launcher."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        if f"output_dir={folder}" in text and "runtime.hosts=" in text:
            found.append(int(path.parent.name))
    return found

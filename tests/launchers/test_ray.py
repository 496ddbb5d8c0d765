"""Actors of Ray: what is refused, and a cluster on this machine that loses a process."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from processes import COMPOSED, SMALL, trainings

from dltrain.cli.main import main
from dltrain.errors import ConfigError, WorkerError
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


@pytest.mark.parametrize(
    ("nodes", "options", "expected"),
    [
        ([{"CPU": 4.0}, {"CPU": 3.0}], {"cpus": 2}, 3),
        ([{"CPU": 4.0, "GPU": 1.0}, {"CPU": 8.0}], {"gpus": 1}, 1),
        ([{"CPU": 4.0}, {"CPU": 8.0, "dead": 1}], {"cpus": 2}, 2),
        ([{}], {}, 0),
    ],
)
def test_room_is_what_the_machines_hold_that_are_alive(nodes, options, expected):
    found = [{"Alive": "dead" not in node, "Resources": node} for node in nodes]
    assert launcher.room(found, {**OPTIONS, **options}) == expected


def test_an_elastic_run_goes_on_with_fewer_actors(here, monkeypatch, capsys):
    """Each start loses a machine; a batch of 64 has no use for three actors."""
    alive, counts = [4], []

    class Ray:
        def nodes(self):
            return [{"Alive": True, "Resources": {"CPU": 1.0}}] * alive[0]

    def attempt(ray, plan, options, told, *, count):
        counts.append(count)
        alive[0] -= 1
        if count == 4:
            raise WorkerError("an actor does not answer")
        return 9 if count == 2 and alive[0] == 2 else 0

    monkeypatch.setattr(launcher, "_attempt", attempt)
    plan = launcher.make_plan(["data=iris"], "ray", elastic=True)
    assert launcher._train(Ray(), plan, {**OPTIONS, "hosts": 4}, [4, 2, 1]) == 0
    shown = capsys.readouterr().out
    assert counts == [4, 2, 2] and "start 2: dltrain data=iris output_dir=" in shown
    assert "with 2 of 4 actors" in shown and "resume" not in shown and "overwrite" not in shown


def test_without_ray_it_says_what_to_install(here, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    with pytest.raises(ConfigError, match="pip install ray"):
        launcher.launch(["data=iris"], OPTIONS, COMPOSED)
    assert not any(here.iterdir())


def test_a_dry_run_shows_what_would_start(capsys):
    assert main(["launch", "ray", "hosts=4", "dry_run=true", "--", "data=iris"]) == 0
    shown = capsys.readouterr().out
    assert "actors: 4, each with 1 CPUs" in shown and "count: 4, index: 0" in shown


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

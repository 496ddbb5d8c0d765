"""Jobs of SLURM: the script, its checks, following with a scontrol of the test, and a real SLURM of one node."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from processes import COMPOSED, ELASTIC, SMALL, losses, trainings
from slurm import slurm, why_not

from dltrain.cli.main import main
from dltrain.errors import ConfigError
from dltrain.launchers import slurm as launcher
from dltrain.launchers._plan import make_plan

OPTIONS = {
    **{"hosts": 4, "gpus": 8, "processes": 1, "cpus": 0, "time": "2h", "partition": None, "name": "dltrain"},
    **{"sbatch": None, "setup": None, "follow": True, "dry_run": True, "restarts": 3},
}
FAKE = {
    "sbatch": 'case "$*" in *--test-only*) exit ${REFUSED:-0} ;; *) echo 7 ;; esac',
    "srun": "",
    "scontrol": """
n=$(cat n 2>/dev/null || echo 0); n=$((n + 1)); echo $n > n
console=$(ls -d outputs/*/*)/console.log
case $n in
1) echo "JobId=7 JobState=PENDING Reason=Resources ExitCode=0:0" ;;
2) printf '0: one\\n1: tw' >> $console; echo "JobId=7 JobState=RUNNING Reason=None ExitCode=0:0" ;;
*) printf 'o\\n' >> $console; echo "JobId=7 JobState=${END:-COMPLETED} Reason=None ExitCode=${CODE:-0:0}" ;;
esac""",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake(here, monkeypatch):
    """Commands of SLURM that answer what the test expects."""
    (here / "bin").mkdir()
    for name, text in FAKE.items():
        path = here / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(launcher, "LOOK", 0.01)


def directives(text):
    return dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", text, re.MULTILINE))


def test_the_script_asks_for_what_the_options_say():
    text = launcher.script(make_plan(["model=cnn"], "slurm"), {**OPTIONS, "sbatch": "--account=me --exclusive"})
    found = directives(text)
    assert (found["nodes"], found["ntasks-per-node"], found["gpus-per-node"]) == ("4", "8", "8")
    assert (found["time"], found["signal"], found["account"]) == ("02:00:00", "B:USR1@120", "me")
    assert {"requeue", "exclusive"} <= {*found} and "partition" not in found
    assert subprocess.run(["bash", "-n"], input=text.encode()).returncode == 0


def test_only_an_elastic_run_starts_again_in_its_job_on_numbers_of_nodes_that_divide_the_batch(here):
    options = {**OPTIONS, "gpus": 0, "processes": 2, "hosts": 6, "restarts": 5}
    composed = {**ELASTIC, "batch_size": 48}
    nodes = launcher.nodes_that_fit(options, composed)
    assert nodes == [6, 4, 3, 2, 1]
    plan = make_plan(["data=iris", "runtime.elastic=true"], "slurm", elastic=True)
    text = launcher.script(plan, options, nodes)
    assert "no-kill" in directives(text) and "for wanted in 6 4 3 2 1; do" in text and "seq 5" in text
    assert "resume" not in text and "overwrite=true" not in text
    assert subprocess.run(["bash", "-n"], input=text.encode()).returncode == 0
    other = launcher.script(make_plan(["data=iris"], "slurm"), options)
    assert "no-kill" not in directives(other) and "seq" not in other


@pytest.mark.parametrize(
    ("codes", "up", "starts"),
    [
        ((0,), "a b c d", ["-"]),
        ((9, 0), "a b c d", ["-", "--nodes=4 --ntasks=8 --nodelist=a,b,c,d"]),
        ((137, 0), "a c d", ["-", "--nodes=2 --ntasks=4 --nodelist=a,c"]),
        ((9, 9, 9), "a", ["-", *["--nodes=1 --ntasks=2 --nodelist=a"] * 2]),
        ((9,), "", ["-", "requeue"]),
        ((2,), "a b c d", ["-"]),
    ],
)
def test_the_script_of_an_elastic_run_goes_on_after_a_loss(here, codes, up, starts):
    """With commands that note what they are asked: srun ends with the codes, and all but `up` are down."""
    (here / "codes").write_text("\n".join(map(str, codes)) + "\n")
    fake = {
        "srun": 'code=$(head -1 codes); sed -i 1d codes; echo "$@" | '
        "sed -E 's/--label --kill-on-bad-exit=0 ?//; s/ ?[^ ]*python.*//; s/^$/-/' >> said; exit $code",
        "sinfo": "".join(f"echo {node}; echo {node}\n" for node in "abcd" if node not in up) or "true",
        "scontrol": 'if [ "$1" = show ]; then printf "%s\\n" a b c d; else echo "$1" >> said; fi',
    }
    (here / "bin").mkdir()
    for name, body in fake.items():
        (here / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (here / "bin" / name).chmod(0o755)
    options = {**OPTIONS, "gpus": 0, "processes": 2, "restarts": 2}
    plan = make_plan(["data=iris", "runtime.elastic=true"], "slurm", elastic=True)
    text = launcher.script(plan, options, launcher.nodes_that_fit(options, ELASTIC))
    environment = {"PATH": f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, timeout=30)
    assert (here / "said").read_text().splitlines() == starts, done.stderr
    assert done.returncode == codes[-1]


def test_processes_without_gpus_are_tasks():
    found = directives(
        launcher.script(make_plan([], "slurm"), {**OPTIONS, "gpus": 0, "processes": 3, "cpus": 2, "time": "26h"})
    )
    assert (found["ntasks-per-node"], found["cpus-per-task"], found["time"]) == ("3", "2", "26:00:00")
    assert "gpus-per-node" not in found


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hosts": 0}, "hosts=0: must be at least 1"),
        ({"processes": 16}, "each GPU has one process"),
        ({"time": "2 days"}, "time=2 days"),
        ({"name": "A b"}, "name=A b"),
        ({"sbatch": "-p x"}, "--OPTION=VALUE"),
        ({"sbatch": "--a='"}, "No closing quotation"),
        ({"partition": "a b"}, "one word"),
        ({"setup": ["x"]}, "setup="),
    ],
)
def test_what_cannot_work_is_refused(changed, message, here):
    with pytest.raises(ConfigError, match=re.escape(message)):
        launcher.launch(["model=cnn"], {**OPTIONS, **changed}, COMPOSED)
    assert not any(here.iterdir())


def test_missing_commands_are_named_before_anything_is_written(here, monkeypatch):
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(ConfigError, match="sbatch is not installed here"):
        launcher.launch(["model=cnn"], {**OPTIONS, "dry_run": False}, COMPOSED)
    assert not any(here.iterdir())


def test_a_dry_run_writes_and_shows_the_script(here, capsys):
    assert main(["launch", "slurm", "hosts=2", "dry_run=true", "--", "data=iris"]) == 0
    (path,) = here.glob("outputs/*/*/job.sh")
    assert path.read_text() in capsys.readouterr().out


def test_a_job_is_followed_until_it_ends(fake, capsys):
    assert launcher.launch(["data=iris"], {**OPTIONS, "dry_run": False}, COMPOSED) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-6:] == [
        "job 7 is submitted; end it with: scancel 7",
        "job 7: pending (Resources)",
        "0: one",
        "job 7: running",
        "1: two",
        "job 7: completed, exit code 0",
    ]


@pytest.mark.parametrize(
    ("state", "code", "expected"), [("FAILED", "9:0", 9), ("TIMEOUT", "0:0", 1), ("CANCELLED", "0:15", 143)]
)
def test_the_exit_code_is_that_of_the_job(fake, monkeypatch, state, code, expected):
    monkeypatch.setenv("END", state)
    monkeypatch.setenv("CODE", code)
    assert launcher.launch(["data=iris"], {**OPTIONS, "dry_run": False}, COMPOSED) == expected


def test_what_sbatch_refuses_is_not_submitted(fake, monkeypatch):
    monkeypatch.setenv("REFUSED", "1")
    with pytest.raises(ConfigError, match="sbatch: exit code 1"):
        launcher.launch(["data=iris"], {**OPTIONS, "dry_run": False}, COMPOSED)


def test_a_batch_that_the_processes_cannot_share_is_refused(here):
    with pytest.raises(ConfigError, match=r"64 examples .* must divide by the 24 devices of 24 processes"):
        launcher.launch(["model=cnn"], {**OPTIONS, "hosts": 3}, COMPOSED)
    assert not any(here.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_an_elastic_job_goes_on_after_a_process_was_killed(here):
    words = (*SMALL, "checkpoint_every=100", "eval_every=300", "log_every=100", "steps=600", "output_dir=run")
    with slurm(here / "slurm") as environment:
        environment |= {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1"}
        of = {"env": environment, "cwd": here}
        launch = [sys.executable, "-m", "dltrain", "launch", "slurm", "processes=2", "time=10min", "--"]
        with (here / "shown.txt").open("wb") as shown:
            elastic = [*launch, *words, "runtime.elastic=true", "runtime.heartbeat=5"]
            following = subprocess.Popen(elastic, **of, stdout=shown, stderr=shown)
        until = time.monotonic() + 120
        while not [*here.glob("run/checkpoints/step_*")] and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(trainings(here / "run")[-1], signal.SIGKILL)
        assert following.wait(300) == 0, (here / "shown.txt").read_text()
    text = (here / "shown.txt").read_text()
    assert "a process was lost (exit code 137); start 2, on" in text and "run at step" in text
    assert sorted(losses(here / "run")) == list(range(100, 601, 100))


@pytest.mark.slow
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_a_preempted_job_finishes_with_the_hash_of_an_uninterrupted_run(here):
    words = (*SMALL, "checkpoint_every=100", "log_every=100", "steps=1200")
    training = [sys.executable, "-m", "dltrain"]
    with slurm(here / "slurm") as environment:
        environment |= {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": "1"}
        of = {"env": environment, "cwd": here}
        local = [*training, "launch", "local", "processes=2", "--", *words, "output_dir=alone"]
        assert subprocess.run(local, **of, capture_output=True).returncode == 0
        launch = [*training, "launch", "slurm", "processes=2", "time=10min", "--", *words, "output_dir=preempted"]
        refused = subprocess.run([*launch[:5], "hosts=3", *launch[5:]], **of, capture_output=True, text=True)
        assert refused.returncode == 2 and "not available" in refused.stderr
        with (here / "shown.txt").open("wb") as shown:
            following = subprocess.Popen(launch, **of, stdout=shown, stderr=shown)
        until = time.monotonic() + 100
        while not [*here.glob("preempted/checkpoints/step_*")] and time.monotonic() < until:
            time.sleep(0.02)
        job = subprocess.run(["squeue", "-h", "-o", "%i"], **of, capture_output=True, text=True).stdout.strip()
        subprocess.run(["scontrol", "requeue", job], env=environment, check=True)
        start_at_once(job, environment)
        assert following.wait(200) == 0, (here / "shown.txt").read_text()
    text = (here / "shown.txt").read_text()
    assert "interrupted by SIGTERM: saved at step" in text and "start 2, on" in text
    assert state_hash(here / "preempted") == state_hash(here / "alone")


def start_at_once(job, environment):
    """Wait until a job is in the queue again, and let it start; SLURM would wait for two minutes."""
    for _ in range(200):
        asked = ["squeue", "-h", "-o", "%T", "-j", job]
        if "PENDING" in subprocess.run(asked, env=environment, capture_output=True, text=True).stdout:
            subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], env=environment, check=True)
            return
        time.sleep(0.2)


def state_hash(folder):
    done = subprocess.run([sys.executable, "-m", "dltrain", "hash", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]

"""A real SLURM of one node on this machine: munged, slurmctld and slurmd in a folder of the test."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

from dltrain.devices.hosts import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
SBIN = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
KillWait=30
ReturnToService=2
JobRequeue=1
MinJobAge=300
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Return why SLURM cannot run here, or nothing."""
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=SBIN)]:
        return f"no {', '.join(missing)}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd has to be started by root"


@contextlib.contextmanager
def slurm(folder: Path) -> Generator[dict[str, str]]:
    """Start SLURM; yield the environment in which its commands find it."""
    folder.mkdir(parents=True, mode=0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    ports = {"controller": free_port(), "daemon": free_port()}
    config = folder / "slurm.conf"
    config.write_text(CONFIG.format(host=socket.gethostname().split(".")[0], folder=folder, **ports))
    environment = {**os.environ, "PATH": SBIN, "SLURM_CONF": str(config)}
    munge = {name: f"{folder}/munge.{name}" for name in ("socket", "log", "pid", "seed")}
    flags = [f"--{n if n in ('socket',) else n + '-file'}={path}" for n, path in munge.items()]
    commands = (
        ["munged", "--foreground", "--force", f"--key-file={key}", *flags],
        ["slurmctld", "-D", "-i", "-f", str(config)],
        ["slurmd", "-D", "-f", str(config)],
    )
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as out:
                started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            time.sleep(0.5)
        _wait_for_node(environment, folder)
        yield environment
    finally:
        if len(started) == len(commands):
            subprocess.run(["scancel", f"--user={getpass.getuser()}"], env=environment, capture_output=True)
            time.sleep(2)
        for one in reversed(started):
            one.terminate()
        for one in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(20)
            one.kill()


def _wait_for_node(environment: dict[str, str], folder: Path) -> None:
    for _ in range(60):
        found = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
        if found.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log")))
    raise RuntimeError(f"the node of SLURM does not come up: {found.stdout}{found.stderr}\n{logs}")

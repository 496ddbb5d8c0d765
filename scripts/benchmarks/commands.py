"""Whole commands in separate processes: the time until a file appears, the total time, and the memory."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Ended:
    """The result of a command."""

    seconds: float
    memory: float  # MB, the most that was resident
    first: float | None  # seconds until the awaited file held a line


def dltrain(*words: str) -> list[str]:
    """Return a command line of dltrain."""
    return [sys.executable, "-m", "dltrain", *words]


def run(command: Sequence[str], *, cwd: Path, awaited: Path | None = None, **more: str) -> Ended:
    """Run a command of this repository with `more` in its environment; raise with its last output if it fails."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": path, **more}
    with tempfile.TemporaryFile() as output:
        began, first, memory = time.perf_counter(), None, 0.0
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT)
        while True:
            memory = max(memory, _resident(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            now = time.perf_counter() - began
            if awaited and first is None and awaited.exists() and awaited.stat().st_size:
                first = now
            if pid:
                break
            time.sleep(0.002)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            said = output.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said}")
    return Ended(now, memory or _megabytes(usage), first)


def _resident(pid: int) -> float:
    """Return the peak resident memory so far in MB, from /proc; 0 without it.

    What `wait4` says counts this process too, as it was when the command was forked from it.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM:")), 0.0)


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)

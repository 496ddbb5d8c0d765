"""Start the processes of a run on this machine: one merged console, one end.

All processes see the same signals, and end when one of them fails; then the exit code is that of the first.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from dltrain.devices.heartbeat import reaches
from dltrain.devices.hosts import free_port
from dltrain.errors import ConfigError
from dltrain.machine import cores
from dltrain.startup import handling

PER_CORE = 8  # processes; more would train for longer than anybody waits
GRACE = 20.0  # seconds in which the others end by themselves after one has failed
FORCE = "--xla_force_host_platform_device_count"


def launch(words: Sequence[str], options: Mapping[str, Any]) -> int:
    """Start `processes` times `dltrain WORDS`, show what they print, and wait for all of them.

    Raises:
        ConfigError: the processes cannot run on this machine.
    """
    count, devices = options["processes"], options["devices"]
    _check(count, devices, options["port"])
    address = f"127.0.0.1:{options['port'] or free_port()}"
    graphics = _gpus() if not _on_cpu(words) else 0
    if graphics and count * devices > graphics:
        raise ConfigError(f"processes={count} devices={devices}: this machine has {graphics} GPUs; runtime=cpu?")
    started: list[subprocess.Popen[bytes]] = []
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    with handling(lambda number, frame: _pass_on(started, number), *signals):
        for index in range(count):
            place = f"{{coordinator: '{address}', count: {count}, index: {index}, local: true}}"
            command = [sys.executable, "-m", "dltrain", *words, f"runtime.hosts={place}"]
            environment = _environment(index, count=count, devices=devices, gpus=graphics)
            started.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a Ctrl-C comes once, from here
                )
            )
        readers = [threading.Thread(target=_show, args=(i, one.stdout)) for i, one in enumerate(started)]
        for reader in readers:
            reader.start()
        try:
            return _wait(started)
        finally:
            _kill(started)
            for reader in readers:
                reader.join()


def _check(count: int, devices: int, port: int) -> None:
    if count < 1 or devices < 1:
        raise ConfigError(f"processes={count} devices={devices}: must be at least 1")
    if count > PER_CORE * cores():
        raise ConfigError(f"processes={count}: this machine has {cores()} cores; at most {PER_CORE * cores()}")
    if not 0 <= port < 65536:
        raise ConfigError(f"port={port}: must be 0 (a free one) to 65535")
    if port and reaches(f"127.0.0.1:{port}"):
        raise ConfigError(f"port={port}: is in use; port=0 takes a free one")


def _on_cpu(words: Sequence[str]) -> bool:
    asked = {"runtime=cpu", "runtime.platform=cpu"} & {*words}
    return bool(asked) or os.environ.get("JAX_PLATFORMS", "") == "cpu"


def _gpus() -> int:
    return sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in Path("/dev").glob("nvidia*"))


def _environment(index: int, *, count: int, devices: int, gpus: int) -> dict[str, str]:
    """Return the environment of a process: its share of the cores, its virtual devices or GPUs."""
    found = dict(os.environ)
    found.setdefault("PJRT_NPROC", str(max(1, cores() // count)))
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(str(index * devices + one) for one in range(devices))
    else:
        flags = [flag for flag in found.get("XLA_FLAGS", "").split() if not flag.startswith(FORCE)]
        found["XLA_FLAGS"] = " ".join([*flags, f"{FORCE}={devices}"])
    return found


def _show(index: int, lines: IO[bytes] | None) -> None:
    """Print the lines of a process with its number."""
    assert lines
    with lines:
        for line in lines:
            print(f"{index} | {line.decode(errors='replace').rstrip()}", flush=True)


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait until all have ended, or for a while after one has failed; return the code of the first that failed."""
    failed, until = 0, float("inf")
    running = list(started)
    while running and time.monotonic() < until:
        for one in [p for p in running if p.poll() is not None]:
            running.remove(one)
            if one.returncode and not failed:
                failed, until = _code(one.returncode), time.monotonic() + GRACE
                print(f"{started.index(one)} | ended with exit code {failed}", flush=True)
        time.sleep(0.05)
    return failed


def _kill(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what is left, and reap all."""
    for one in started:
        if one.poll() is None:
            one.kill()
        one.wait()


def _code(returned: int) -> int:
    """Return the exit code as a shell shows it: 128 + signal for a process that was killed."""
    return returned if returned >= 0 else 128 - returned


def _pass_on(started: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    """Pass a signal on to the processes, in place of what it does here."""
    for one in started:
        if one.poll() is None:
            one.send_signal(number)

"""Start the processes of a run on this machine: one merged console, one end.

All processes see the same signals, and end when one of them fails; then the exit code is that of the first. With
`runtime.elastic=true` those that are left go on from the last checkpoint after one was lost.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dltrain.devices.heartbeat import reaches
from dltrain.devices.hosts import free_port
from dltrain.errors import ConfigError, WorkerError
from dltrain.launchers._plan import FORCE, check_counts, check_devices, fitting, make_plan
from dltrain.machine import cores
from dltrain.startup import handling

PER_CORE = 8  # processes; more would train for longer than anybody waits
GRACE = 20.0  # seconds in which the others end by themselves after one has failed
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def launch(words: Sequence[str], options: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Start `processes` times `dltrain WORDS`, show what they print, and wait for all of them.

    Args:
        words: the command line.
        options: those of configs/launch/local.yaml.
        config: what the words compose to.

    Raises:
        ConfigError: the processes cannot run on this machine.
    """
    count, devices = options["processes"], options["devices"]
    _check(count, devices, options["port"])
    check_counts(options, "restarts", low=0)
    check_devices(config, processes=count, devices=devices)
    graphics = _gpus() if not _on_cpu(words) else 0
    if graphics and count * devices > graphics:
        raise ConfigError(f"processes={count} devices={devices}: this machine has {graphics} GPUs; runtime=cpu?")
    elastic = config["runtime"]["elastic"]
    if elastic:
        words = make_plan(words, "local", elastic=True).first
    of = {"devices": devices, "graphics": graphics}
    for start in range(2, options["restarts"] + 3):
        ended = _run(words, count, f"127.0.0.1:{options['port'] or free_port()}", **of)
        if not elastic or ended.told or not (ended.lost or ended.code == WorkerError.code):
            break
        left = count - len(ended.lost)
        lost = f"process {', '.join(map(str, ended.lost))} of {count} was lost" if ended.lost else "a worker died"
        counts = fitting(config, left, devices=devices)
        if start == options["restarts"] + 2:
            print(f"launch: {lost}; not started again (restarts={options['restarts']})", flush=True)
        elif not counts:
            print(f"launch: {lost}; the batch cannot be divided among {left} or fewer processes", flush=True)
            break
        else:
            count = counts[0]
            print(
                f"launch: {lost}; start {start} goes on from the last checkpoint with {count} of {left} processes "
                "that are left",
                flush=True,
            )
    return ended.code


@dataclass
class _Ended:
    """How the processes of a start ended."""

    code: int = 0  # of the first that failed
    lost: list[int] = field(default_factory=list)  # processes that were killed, or had to be
    told: bool = False  # by a signal to all of them


def _run(words: Sequence[str], count: int, address: str, *, devices: int, graphics: int) -> _Ended:
    """Start the processes, show what they print, and wait until all have ended."""
    started: list[subprocess.Popen[bytes]] = []
    ended = _Ended()

    def pass_on(number: int, frame: Any) -> None:
        """Pass a signal on to the processes, in place of what it does here."""
        del frame
        ended.told = True
        for one in started:
            if one.poll() is None:
                one.send_signal(number)

    with handling(pass_on, *SIGNALS):
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
            _wait(started, ended)
        finally:
            _kill(started)
            for reader in readers:
                reader.join()
    return ended


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


def _wait(started: Sequence[subprocess.Popen[bytes]], ended: _Ended) -> None:
    """Wait until all have ended, or for a while after one has failed, and note how they did."""
    until = float("inf")
    running = list(started)
    while running and time.monotonic() < until:
        for one in [p for p in running if p.poll() is not None]:
            running.remove(one)
            index = started.index(one)
            if one.returncode < 0:
                ended.lost.append(index)
                ended.told |= -one.returncode in SIGNALS
            if one.returncode and not ended.code:
                ended.code, until = _code(one.returncode), time.monotonic() + GRACE
                print(f"{index} | ended with exit code {ended.code}", flush=True)
        time.sleep(0.05)
    if not ended.lost:  # whoever is left was stopped or hangs; otherwise it may only have been slow to end
        ended.lost = [started.index(one) for one in running]


def _kill(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what is left, and reap all."""
    for one in started:
        if one.poll() is None:
            one.kill()
        one.wait()


def _code(returned: int) -> int:
    """Return the exit code as a shell shows it: 128 + signal for a process that was killed."""
    return returned if returned >= 0 else 128 - returned

"""Signs of life of the processes of a run: whichever is lost, the others end with exit code 9 and name it.

jax ends a process that lost its coordinator by an abort in C++, without a word that a user understands, and says
nothing about a process that hangs. So each process writes a sign of life into the coordinator's key-value store;
process 0 watches all of them, the others watch process 0, and an abort is answered with the message of this file.
"""

import ctypes
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

TICK = 1.0  # seconds between two looks
SIGNS = 5  # signs of life per heartbeat
LINGER = 3.0  # seconds in which the others read who failed, before the coordinator ends with process 0
FAILED, ALIVE = "dltrain/failed/", "dltrain/alive/"
CODE = 9  # of errors.WorkerError


class Heartbeat:
    """Two threads: one shows that this process lives and looks at the others, one notices when that hangs."""

    def __init__(self, client: Any, *, index: int, count: int, limit: float, say: Callable[[str], None]) -> None:
        """Start the threads.

        Args:
            client: of the coordinator's key-value store.
            index: of this process.
            count: of processes.
            limit: seconds without a sign of life after which a process is lost.
            say: prints a message before this process ends.
        """
        self._client, self._index, self._count, self._limit, self._say = client, index, count, limit, say
        self._stopped = threading.Event()
        self._quiet = 0.0  # seconds since the coordinator answered, counted in ticks: a stopped process counts none
        self._seen: dict[int, tuple[str, float]] = {}  # process -> its last sign, and the seconds since
        for target in (self._beat, self._watch):
            threading.Thread(target=target, daemon=True, name=f"heartbeat {target.__name__}").start()

    def wait(self, seconds: float) -> None:
        """Wait until this has ended, for so many seconds at most."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """Stop watching: from now on, a process that ends has not failed."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether the run has ended."""
        return self._stopped.is_set()

    def report(self, index: int, reason: str) -> None:
        """Tell the others that a process failed, once."""
        try:
            self._client.key_value_set(f"{FAILED}{index}", reason[:2000])
        except Exception:  # it is known already, or the coordinator is gone
            return

    def end(self, index: int, reason: str) -> NoReturn:
        """End this process because another one was lost."""
        if self._index == 0:
            time.sleep(LINGER)
        if not self.stopped:
            self._say(f"process {index} of {self._count} {reason}; this process ends")
        os._exit(CODE)

    def _beat(self) -> None:
        wait = 0.0
        number = 0
        while not self._stopped.wait(TICK):
            try:
                wait -= TICK
                if wait <= 0:
                    number, wait = number + 1, self._limit / SIGNS
                    self._client.key_value_set(f"{ALIVE}{self._index}", str(number), allow_overwrite=True)
                self._look_for_failures()
                self._look_for_signs()
            except Exception as error:
                if not self._stopped.is_set() and self._index:
                    self.end(0, f"cannot be reached any more ({str(error).splitlines()[0]})")
            self._quiet = 0.0

    def _look_for_failures(self) -> None:
        for key, reason in self._client.key_value_dir_get(FAILED):
            if (index := int(key.rpartition("/")[2])) != self._index and not self.stopped:
                self.end(index, reason)

    def _look_for_signs(self) -> None:
        """Count the ticks since the last new sign of each process that this one watches."""
        watched = self._client.key_value_dir_get(ALIVE)
        found = {int(key.rpartition("/")[2]): sign for key, sign in watched} if self._index == 0 else {0: ""}
        if self._index:
            found = {int(key.rpartition("/")[2]): sign for key, sign in watched if key.endswith("/0")}
        for index, sign in found.items():
            before, age = self._seen.get(index, (sign, -TICK))
            self._seen[index] = (sign, age + TICK if sign == before else 0.0)
            if self._seen[index][1] > self._limit and index != self._index and not self.stopped:
                reason = (
                    f"gave no sign of life for {self._limit:g} s (runtime.heartbeat): killed, stopped or cut off"
                )
                self.report(index, reason)
                self.end(index, reason)

    def _watch(self) -> None:
        while not self._stopped.wait(TICK):
            self._quiet += TICK
            if self._quiet > self._limit and self._index:
                self.end(
                    0, f"does not answer for {self._limit:g} s (runtime.heartbeat): killed, stopped or cut off"
                )


_handlers: list[Any] = []  # C has no reference to them


def answer_abort(explain: Callable[[], str], say: Callable[[str], None]) -> None:
    """End the process with exit code 9 if a C++ library aborts, saying what `explain` returns, unless it is ""."""
    libc = ctypes.CDLL(None)

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def handler(number: int) -> None:
        if text := explain():
            say(text)
            os._exit(CODE)
        libc.signal(number, None)  # SIG_DFL: abort goes on

    _handlers.append(handler)
    libc.signal(int(signal.SIGABRT), handler)


def reaches(address: str, *, seconds: float = 2.0) -> bool:
    """Tell whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except OSError:
        return False
    return True

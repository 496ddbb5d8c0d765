"""Processes that work on one task each; one that dies ends its own task only, and is replaced.

`concurrent.futures` and loky give up all processes of a pool when one dies, and their tasks cannot ask the parent
anything, so this is made of `multiprocessing` itself. Processes are spawned: a fork of one with threads may hang.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

POLL = 0.2  # seconds after which `Workers.wait` returns, so that a signal is seen
PATIENCE = 10.0  # seconds for a process to end by itself


@dataclass(frozen=True)
class Died:
    """How a process ended in the middle of its task."""

    process: int  # its id
    code: int  # exit code; negative: the number of a signal

    def __str__(self) -> str:
        """Describe it."""
        if self.code == -signal.SIGKILL:
            return "its process was killed (SIGKILL), as the system does where memory runs out"
        if self.code < 0:
            return f"its process was ended by {signal.Signals(-self.code).name}"
        return f"its process ended with exit code {self.code}"


@dataclass(frozen=True)
class Event:
    """What a worker has to say: `kind` is told, asked, done, or died."""

    worker: int
    task: Any
    kind: str
    value: Any


class Parent:
    """The parent process, as a task sees it. A parent that is gone hears nothing and answers None."""

    def __init__(self, connection: Connection) -> None:
        """Speak through this connection."""
        self._connection, self._sending = connection, threading.Lock()

    def tell(self, value: Any) -> None:
        """Send something; may be called in any thread."""
        self._send("told", value)

    def ask(self, value: Any) -> Any:
        """Send something, and wait for the answer; in the main thread only."""
        self._send("asked", value)
        with contextlib.suppress(EOFError, OSError):
            return self._connection.recv()

    def end(self, value: Any) -> None:
        """Say that the task is done."""
        self._send("done", value)

    def _send(self, kind: str, value: Any) -> None:
        with self._sending, contextlib.suppress(OSError):
            self._connection.send((kind, value))


Work = Callable[[Any, Parent], Any]
"""(task, parent) -> result; called in a worker, which keeps it from task to task."""


class Pool(Protocol):
    """Workers, or what simulates them."""

    @property
    def idle(self) -> Sequence[int]:
        """The numbers of the workers without a task."""
        ...

    @property
    def busy(self) -> Sequence[int]:
        """The numbers of the workers with one."""
        ...

    def give(self, number: int, task: Any) -> None:
        """Give a task to a worker that is idle."""
        ...

    def wait(self) -> Sequence[Event]:
        """Return what workers have to say, [] if nothing for a while."""
        ...


def keep_busy(
    pool: Pool, next_task: Callable[[], Any], handle: Callable[[Event], None], *, stopping: Callable[[], bool]
) -> None:
    """Give each worker a task as soon as it has ended the one before, until there are none left.

    Args:
        pool: the workers.
        next_task: returns the next task; None: there is none now.
        handle: is called for each event, before the next task is chosen.
        stopping: tells whether no more tasks are to begin.
    """
    while True:
        while pool.idle and not stopping() and (task := next_task()) is not None:
            pool.give(pool.idle[0], task)
        if not pool.busy:
            return
        for event in pool.wait():
            handle(event)


class Workers:
    """Processes of this machine, each of which starts with its first task."""

    def __init__(self, count: int, make: Callable[[], Work]) -> None:
        """Use `count` processes; `make` is called in each of them, so it must be importable.

        `count` may be raised later.
        """
        self.count, self._make = count, make
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, tuple[Any, Connection]] = {}
        self._tasks: dict[int, Any] = {}

    @property
    def idle(self) -> list[int]:
        """The numbers of the workers without a task."""
        return [number for number in range(self.count) if number not in self._tasks]

    @property
    def busy(self) -> list[int]:
        """The numbers of the workers with one."""
        return list(self._tasks)

    @property
    def started(self) -> list[int]:
        """The numbers of the workers whose process lives, as far as is known."""
        return list(self._processes)

    def give(self, number: int, task: Any) -> None:
        """Give a task to a worker; its process is started if there is none."""
        with contextlib.suppress(OSError):  # it has just died, which `wait` reports
            self._connection(number).send(task)
        self._tasks[number] = task

    def answer(self, number: int, value: Any) -> None:
        """Answer a worker that has asked."""
        with contextlib.suppress(OSError):
            self._processes[number][1].send(value)

    def wait(self) -> list[Event]:
        """Return what workers have to say; after POLL seconds an empty list."""
        asked = {self._processes[number][1]: number for number in self._tasks}
        return [self._receive(asked[ready]) for ready in wait(list(asked), POLL) if isinstance(ready, Connection)]

    def interrupt(self) -> None:
        """Send SIGINT to every process that has a task."""
        for number in self._tasks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._processes[number][0].pid, signal.SIGINT)

    def close(self) -> None:
        """End all processes: those that are idle by themselves, the others at once."""
        for number, (process, connection) in self._processes.items():
            with contextlib.suppress(OSError):
                connection.send(None)
            connection.close()
            process.join(0 if number in self._tasks else PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes, self._tasks = {}, {}

    def _connection(self, number: int) -> Connection:
        if number not in self._processes:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(theirs, self._make), name=f"worker {number}")
            process.start()
            theirs.close()  # so that the connection ends with the process
            self._processes[number] = process, ours
        return self._processes[number][1]

    def _receive(self, number: int) -> Event:
        process, connection = self._processes[number]
        try:
            kind, value = connection.recv()
        except (EOFError, OSError):
            process.join(PATIENCE)
            process.kill()
            process.join()
            del self._processes[number]
            kind, value = "died", Died(process.pid, process.exitcode)
        task = self._tasks[number]
        if kind in ("done", "died"):
            del self._tasks[number]
        return Event(number, task, kind, value)


def _serve(connection: Connection, make: Callable[[], Work]) -> None:
    """Work on tasks until there are none; Ctrl-C in the terminal is for the parent, which passes it on."""
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work, parent = make(), Parent(connection)
    with contextlib.suppress(EOFError, OSError):
        while (task := connection.recv()) is not None:
            parent.end(work(task, parent))


def _end_with_parent() -> None:
    """Send this process SIGTERM when its parent is gone, so that a run is saved and ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

"""Several processes that train one model: how they find one another, and what they decide together.

jax.distributed connects the processes, and XLA computes sums over their devices. Every process runs the same
program; only process 0 writes the run folder, except for the arrays of checkpoints. What depends on a clock or a
signal could differ between processes, and they would wait for one another for ever: `agree` makes it what process 0
decides. With a single process all functions return at once, and nothing is imported.

This file uses the key-value store of jax's coordinator (`jax._src.distributed.global_state.client`): jax has no
public interface for it.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dltrain.devices.channel import Channel
from dltrain.devices.error_log import ErrorLog
from dltrain.devices.heartbeat import LINGER, Heartbeat, answer_abort, reaches
from dltrain.errors import ConfigError, DltrainError, Interrupted, Terminated, WorkerError

T = TypeVar("T")
JOINING = 10  # heartbeats in which all processes have to join
LOOPBACK = ("localhost", "127.", "::1", "[::1]", "0.0.0.0")
SIGNAL = "dltrain/signal/"


class Group:
    """The processes of a run, seen from one of them."""

    def __init__(self, client: Any, *, index: int, count: int, heartbeat: float, log: ErrorLog) -> None:
        """Begin to watch the others."""
        self.client, self.index, self.count, self.log, self.heartbeat = client, index, count, log, heartbeat
        self.watch = Heartbeat(client, index=index, count=count, limit=heartbeat, say=log.say)
        self._channels, self._signs = dict[str, Channel](), set[str]()
        self.main = self.channel("main")  # of the training thread

    def channel(self, name: str) -> Channel:
        """Return the channel of this name, the same at each call."""
        if name not in self._channels:
            of = {"index": self.index, "count": self.count, "heartbeat": self.heartbeat}
            self._channels[name] = Channel(self.client, name=name, **of)
        return self._channels[name]

    def tell(self, signal: str) -> None:
        """Tell process 0 that this process got a signal."""
        if signal not in self._signs:
            self._signs.add(signal)
            self.client.key_value_set(f"{SIGNAL}{self.index}", signal, allow_overwrite=True)

    def told(self) -> str | None:
        """Return the signal that any other process got."""
        return next((signal for _, signal in self.client.key_value_dir_get(SIGNAL)), None)


_group: Group | None = None  # of this process, as the coordinator is


def index() -> int:
    """Return the number of this process; process 0 leads."""
    return _group.index if _group else 0


def count() -> int:
    """Return the number of processes of the run."""
    return _group.count if _group else 1


def leads() -> bool:
    """Tell whether this is the process that writes and decides."""
    return index() == 0


def agree(value: T, name: str) -> T:
    """Return what process 0 decided; `name` says what about, for messages. A single process decides alone."""
    return _group.main.agree(value, name) if _group else value


def wait(name: str) -> None:
    """Wait until every process is here."""
    if _group:
        _group.main.wait(name)


def gather(value: Any, name: str) -> list[Any]:
    """Return the values of all processes, JSON values, in their order."""
    return _group.main.gather(value, name) if _group else [value]


def channel(name: str) -> Channel | None:
    """Return the channel of a thread that runs next to training; None for a single process."""
    return _group.channel(name) if _group else None


def agreed_signal(received: str | None) -> str | None:
    """Return the name of a signal that any process got, which all of them are to follow."""
    if _group is None:
        return received
    if received and _group.index:
        _group.tell(received)
    return _group.main.agree((received or _group.told()) if _group.index == 0 else None, "signal")


def check_same(value: Any, what: str) -> None:
    """Raise ConfigError if process 0 has another value, a JSON value."""
    if (first := agree(value, what)) != value:
        raise ConfigError(
            f"process {index()} of {count()} has another {what} than process 0: {value} instead of {first}; start "
            "all of them with the same command, versions and data"
        )


@contextlib.contextmanager
def joined(wanted: Any, *, heartbeat: float) -> Generator[None]:
    """Join the other processes (`runtime.hosts`) before jax starts its devices, and leave them at the end.

    After a failure the others are told why; then the process has to end without jax's shutdown (`ended_badly`),
    which would wait for them. After a signal all end in the same way, and one of them says so.

    Raises:
        ConfigError: the processes cannot find one another.
    """
    if wanted is None or _group:
        yield
        return
    _join(wanted, heartbeat)
    try:
        yield
    except (Interrupted, Terminated) as error:  # in all processes, after they have saved
        first = leads()
        _leave()
        if not first:
            raise SystemExit(error.code) from None
        raise
    except BaseException as error:
        _fail(error)
        raise
    _leave()


def _join(wanted: Any, heartbeat: float) -> None:
    global _group
    import jax
    from jax._src.distributed import global_state

    place = {} if wanted == "auto" else dict(wanted)
    address = place.get("coordinator", "")
    if place:
        check_address(place)
    log = ErrorLog()
    joining = threading.Event()
    who = f"process {place.get('index', '?')} of {place.get('count', '?')}"

    def explain() -> str:
        if not joining.is_set():
            return f"{who}: not all processes came to {address or 'the coordinator'} within {seconds} s"
        lost = (
            _group is not None and not _group.watch.stopped and not reaches(global_state.coordinator_address or "")
        )
        return f"{who}: process 0, which coordinates the run, was lost; this process ends" if lost else ""

    seconds = int(JOINING * heartbeat)
    answer_abort(explain, log.say)
    jax.config.update("jax_enable_preemption_service", False)  # it would swallow SIGTERM
    known = {"coordinator_address": address, "num_processes": place.get("count"), "process_id": place.get("index")}
    bound = {"coordinator_bind_address": address} if place.get("local") else {}
    explicit: dict[str, Any] = {"cluster_detection_method": "deactivate", **known, **bound} if place else {}
    try:
        jax.distributed.initialize(
            **explicit, initialization_timeout=seconds, heartbeat_timeout_seconds=int(100 * heartbeat)
        )
    except (RuntimeError, ValueError) as error:
        log.close()
        raise ConfigError(_why_not(wanted, error)) from error
    joining.set()
    who = f"process {global_state.process_id} of {global_state.num_processes}"
    if global_state.num_processes and global_state.num_processes > 1:
        of = {"index": global_state.process_id, "count": global_state.num_processes}
        _group = Group(global_state.client, **of, heartbeat=heartbeat, log=log)
        if _group.index:
            log.take_output()
    else:
        log.close()


def _why_not(wanted: Any, error: Exception) -> str:
    said = str(error).splitlines()[0]
    if wanted == "auto":
        return (
            "runtime.hosts=auto: no cluster was found (looked for SLURM, Open MPI, Kubernetes and a TPU pod: "
            f"{said}); start with srun or mpirun, or name it: "
            "runtime.hosts='{coordinator: HOST:PORT, count: N, index: I}'"
        )
    return f"runtime.hosts: cannot join {wanted['coordinator']}: {said}"


def check_address(place: Mapping[str, Any]) -> None:
    """Raise ConfigError for a coordinator that the other hosts cannot reach, or whose port is in use."""
    host, colon, port = place["coordinator"].rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigError(
            f"runtime.hosts.coordinator={place['coordinator']}: must be HOST:PORT, such as node0:1234"
        )
    if place["count"] > 1 and host.startswith(LOOPBACK) and not place.get("local"):
        raise ConfigError(
            f"runtime.hosts.coordinator={place['coordinator']}: other hosts cannot reach a loopback address; name "
            "the host of process 0. If all processes run on this machine: dltrain launch local processes="
            f"{place['count']} -- ..., or local: true in runtime.hosts"
        )
    if not 0 <= place["index"] < place["count"]:
        raise ConfigError(
            f"runtime.hosts.index={place['index']}: must be 0 to {place['count'] - 1}, for count={place['count']}"
        )
    if place["index"] == 0 and reaches(place["coordinator"], seconds=1.0):
        raise ConfigError(
            f"runtime.hosts.coordinator={place['coordinator']}: port {port} is in use; try another one"
        )


def _leave() -> None:
    """End the run together with the others."""
    global _group
    if _group is None:
        return
    _group.main.wait("end of the run")
    _group.watch.stop()
    import jax

    with contextlib.suppress(Exception):
        jax.distributed.shutdown()
    _group.log.close()
    _group = None


def _fail(error: BaseException) -> None:
    """Tell the others about a failure; if it is only that of another process, end by its name."""
    if _group is None:
        return
    if not isinstance(error, DltrainError | KeyboardInterrupt) or isinstance(error, WorkerError):
        _group.watch.wait(_group.heartbeat + 5)  # it finds out who was lost, and ends the process
    text = (str(error).splitlines() or [type(error).__name__])[0]
    _group.watch.report(_group.index, f"failed: {text}")
    if _group.index:
        _group.log.say(f"process {_group.index} of {_group.count} failed: {text}")
    else:
        time.sleep(LINGER)


def ended_badly() -> bool:
    """Tell whether this process failed among others: it must end without jax's shutdown, which waits for them."""
    return _group is not None


def log_into(path: Path) -> None:
    """Write what libraries say, and notes of this process, into its file in the run folder."""
    if _group:
        _group.log.move(path)


def free_port() -> int:
    """Return a port of this machine that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

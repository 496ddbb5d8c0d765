"""The run folder: creating it, locking it, and the names of its files.

The lock is hand-written (flock), since filelock does not store the process that holds it.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import shlex
import shutil
import time
import traceback
from collections.abc import Generator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from dltrain.devices.memory import shown
from dltrain.errors import THIRD_PARTY, CheckpointError, ConfigError, DataError, DiskError, LockedError
from dltrain.runs.files import hide, replace_text, writing

_TO_SIGN = 1.0  # seconds to wait until a process that has just locked a folder writes its id


class RunFolder:
    """The paths of all files of a run, and its lock."""

    def __init__(self, path: Path) -> None:
        """Set the paths; nothing is created or read."""
        self.path = path
        self.word = shlex.quote(str(path))  # quoted for a shell command
        self.config = path / "config.yaml"
        self.overrides = path / "overrides.yaml"
        self.environment = path / "environment.json"
        self.data = path / "data.json"
        self.model = path / "model.json"
        self.metrics = path / "metrics.jsonl"
        self.results = path / "results.csv"
        self.summary = path / "summary.json"
        self.report = path / "report"
        self.nonfinite = path / "nonfinite"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self.log = path / "train.log"
        self.failure = path / "failure.txt"  # of a sweep job that failed before it became a run
        self.died = ""  # the process that held the lock before and died without releasing it
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Lock the folder, or raise LockedError with the process that holds it; a dead process holds no lock."""
        with writing(self.path / "lock"):
            handle = (self.path / "lock").open("a+", encoding="utf-8")
        holder, until = "", time.monotonic() + _TO_SIGN
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip()
            if _lives(holder) or time.monotonic() > until:
                handle.close()
                raise LockedError(
                    f"{self.path} is in use by process {holder or 'unknown'}; wait for it, or choose another "
                    "output_dir"
                )
            time.sleep(0.01)
        handle.seek(0)
        self.died = handle.read().strip()
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._lock = handle  # held until the process ends

    def release(self) -> None:
        """Release the lock."""
        if self._lock:
            self._lock.truncate(0)  # a process that is killed leaves its id in the file
            self._lock.close()
            self._lock = None

    def read_summary(self) -> dict[str, Any]:
        """Return the summary of a finished run, {} if there is none."""
        try:
            return json.loads(self.summary.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise CheckpointError(f"{self.summary} cannot be read: {error}") from error

    def clear(self) -> None:
        """Delete the files of the run in the folder and no others; config.yaml last, since it marks a run."""
        if not self.config.exists():
            return
        with writing(self.path):
            for path in (self.checkpoints, self.tensorboard, self.report, self.nonfinite):
                shutil.rmtree(path, ignore_errors=True)
            written = (
                self.overrides,
                self.environment,
                self.data,
                self.model,
                self.metrics,
                self.results,
                self.summary,
            )
            for path in (*written, self.log, self.config):
                path.unlink(missing_ok=True)

    def check_data(self, described: Mapping[str, Any]) -> None:
        """Raise DataError if the data has changed since the run started."""
        try:
            before = json.loads(self.data.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.data} cannot be read ({error}); if the run died before it trained, start it again with "
                "overwrite=true"
            ) from error
        if changed := [k for k in ("fingerprint", "examples", "splits") if before.get(k) != described.get(k)]:
            raise DataError(
                f"the data differs from the data that {self.path} was trained on ({', '.join(changed)} changed); "
                "restore the data, or start a new run"
            )

    def check_disk(self, checkpoint: int) -> None:
        """Raise DiskError if two checkpoints of this many bytes do not fit: one stays until the next is done."""
        with writing(self.path):
            disk = shutil.disk_usage(self.path)
        needed = 2 * checkpoint
        if disk.total and disk.free < needed:  # some file systems report only zeros
            raise DiskError(
                f"{self.path}: {shown(disk.free)} of disk are free, and two checkpoints take {shown(needed)}; free "
                "some space, choose another output_dir, or try a smaller model"
            )

    def write_config(self, text: str, started: Mapping[str, Any]) -> None:
        """Write the composed config, and how the run was started (command-line overrides, choices)."""
        replace_text(self.config, text)
        replace_text(self.overrides, json.dumps(dict(started), indent=2, ensure_ascii=False) + "\n")  # JSON is YAML

    @contextlib.contextmanager
    def kept_log(self) -> Generator[None]:
        """Write tracebacks and the logs of other libraries to train.log instead of the terminal."""
        import absl.logging  # the logger of Orbax; must be imported before it is looked up by name

        handler = _Kept(self)
        loggers = absl.logging.get_absl_logger(), *map(logging.getLogger, THIRD_PARTY)
        before = [logger.propagate for logger in loggers]
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield
        except Exception:
            self.note(traceback.format_exc())
            raise
        finally:
            for logger, propagate in zip(loggers, before, strict=True):
                logger.removeHandler(handler)
                logger.propagate = propagate
            self.release()

    def note(self, text: str) -> None:
        """Append to train.log, if the disk allows; values of environment variables are hidden."""
        with contextlib.suppress(OSError), self.log.open("a", encoding="utf-8") as file:
            config = self.config.read_text(encoding="utf-8") if self.config.exists() else ""
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}\n{hide(text, [config])}\n")


def _lives(process: str) -> bool:
    """Tell whether a process with this id is running."""
    try:
        os.kill(int(process), 0)
    except PermissionError:  # it belongs to another user
        return True
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    return True


class _Kept(logging.Handler):
    """Writes warnings and errors of other libraries to a run's train.log."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(logging.WARNING)
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        self._folder.note(self.format(record))


def claim(wanted: Path | None, *, name: str, overwrite: bool, now: datetime | None = None) -> RunFolder:
    """Create and lock the folder of a new run: `wanted`, or `outputs/<date>/<time>-<name>` if None."""
    _check_name(wanted or Path("outputs", name), "choose another output_dir or name")
    if wanted is not None:
        folder = RunFolder(wanted)
        with writing(wanted):
            wanted.mkdir(parents=True, exist_ok=True)
        folder.lock()
        if overwrite:
            folder.clear()
        elif folder.config.exists():
            folder.release()
            raise ConfigError(
                f"output_dir={wanted}: already contains a run; continue it with `dltrain resume {folder.word}`, "
                "choose another folder, or replace it with overwrite=true"
            )
        return folder
    now = now or datetime.now()
    day = Path("outputs") / f"{now:%Y-%m-%d}"
    for number in range(1000):  # mkdir fails if another run has started in the same second
        path = day / (f"{now:%H-%M-%S}-{name}" + (f"-{number + 1}" if number else ""))
        with writing(day):
            day.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir()
            except FileExistsError:
                continue
        folder = RunFolder(path)
        folder.lock()
        return folder
    raise ConfigError(f"no free name for a run in {day}; set output_dir")


def existing(path: str) -> RunFolder:
    """Return the folder of an existing run, or raise ConfigError."""
    folder = RunFolder(Path(path).expanduser())
    if not folder.path.is_dir():
        raise ConfigError(f"{path}: folder not found; RUN is the run folder that training printed (outputs/...)")
    if not folder.config.is_file():
        raise ConfigError(f"{path}: not a run folder (config.yaml is missing)")
    _check_name(folder.path, "rename it")
    return folder


def _check_name(path: Path, remedy: str) -> None:
    """Raise for characters that Orbax reads as patterns or path separators: arrays would be written elsewhere."""
    if found := re.search(r"[\\\[\]*?]", str(path.absolute())):
        raise ConfigError(f"{path}: checkpoints cannot be written to a path that contains {found[0]}; {remedy}")

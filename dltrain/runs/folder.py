"""The run folder: creating it, locking it, and the names of its files.

The lock is hand-written (flock), since filelock does not store the process that holds it. The file is a little over
300 lines because whoever looks for a file of a run looks here.
"""

import contextlib
import fcntl
import hashlib
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
from dltrain.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DiskError,
    LockedError,
    hide,
)
from dltrain.runs import checkpoint
from dltrain.runs.changed import changed_files
from dltrain.runs.files import Files, writing
from dltrain.runs.logs import logs_to
from dltrain.runs.sealed import check_started, check_summary, read_sealed, seal
from dltrain.runs.written import FILES, FOLDERS, Written, refuse_links

ENSEMBLE = "ensemble.json"
"""The file that marks the folder of an ensemble of runs."""

LABEL = 120  # bytes of the name of an event folder
_TO_SIGN = 1.0  # seconds to wait until a process that has just locked a folder writes its id


class _Inside:
    """The path of an entry of a run folder, wherever the folder is now."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: "RunFolder", owner: type) -> Path:
        return folder.path / self._name


class RunFolder:
    """The paths of all files of a run, and its lock.

    What is written goes through `files`. While the folder is locked, all paths follow it if it is renamed.
    """

    config = _Inside("config.yaml")
    overrides = _Inside("overrides.yaml")
    environment = _Inside("environment.json")
    data = _Inside("data.json")
    model = _Inside("model.json")
    saved = _Inside("saved.json")  # the step of the newest checkpoint
    metrics = _Inside("metrics.jsonl")
    results = _Inside("results.csv")
    summary = _Inside("summary.json")
    report = _Inside("report")
    nonfinite = _Inside("nonfinite")
    checkpoints = _Inside("checkpoints")
    tensorboard = _Inside("tensorboard")
    log = _Inside("train.log")
    failure = _Inside("failure.txt")  # of a sweep job that failed before it became a run

    def __init__(self, path: Path, *, trust: tuple[str, ...] = ()) -> None:
        """Set the paths; nothing is created or read. `trust`: packages that every command on the run must trust."""
        self.files = Files(path, note=self._note_written)
        self._written = Written(self.files)
        self.about: dict[str, Any] = {}  # recorded with each checkpoint, see `build.provenance`
        self.died = ""  # the process that held the lock before and died without releasing it
        self.trust = trust
        self._lock: IO[str] | None = None
        self.shared = False  # whether several processes train, and all of them see the folder of the run
        self.label = ""  # in a sweep: the overrides in which its jobs differ

    @property
    def path(self) -> Path:
        """Where the folder is.

        Raises:
            DiskError: it is locked, and was deleted or moved to another file system.
        """
        return self.files.path

    @property
    def word(self) -> str:
        """The path, quoted for a shell command."""
        return shlex.quote(str(self.path))

    @property
    def events(self) -> Files:
        """The folder of event files, after which TensorBoard names the run; of a sweep's job named by its label."""
        name = re.sub(r"[\x00-\x1f/\x7f]", "_", self.label).encode()[:LABEL].decode(errors="ignore").strip(". ")
        place = self.files / "tensorboard"
        return place / name if name else place

    @property
    def locked(self) -> bool:
        """Whether this process holds the lock by this object: then it may rename and delete."""
        return self._lock is not None

    def command(self, name: str, *words: str) -> str:
        """Write a command on this run as it is typed in a shell: `dltrain resume 'my run' epochs=40`."""
        trust = (shlex.quote(f"trust=[{','.join(self.trust)}]"),) if self.trust else ()
        return " ".join(["dltrain", name, self.word, *words, *trust])

    def lock(self) -> None:
        """Lock the folder, or raise LockedError with the process that holds it; a dead process holds no lock."""
        self.files.hold()
        try:
            self._lock = self._locked()
            refuse_links(self.path)
        except BaseException:
            self.release()
            raise

    def _locked(self) -> IO[str]:
        """Return the lock file, locked and with the id of this process."""
        handle = self.files.change("lock")
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
        left = handle.read().strip()
        self.died = left if left.isdecimal() else ""
        _rewrite(handle, f"{os.getpid()}\n")
        return handle  # held until the process ends

    def release(self) -> None:
        """Release the lock."""
        if self._lock:
            _rewrite(self._lock, "")  # a process that is killed leaves its id in the file
            self._lock.close()
            self._lock = None
        self.files.let_go()

    def read_summary(self) -> dict[str, Any]:
        """Return the summary of a finished run, {} if there is none."""
        if not os.path.lexists(self.summary):
            return {}
        found = read_sealed(self.summary)
        check_summary(self.summary, found)
        try:
            mine = self.run_id()
        except CheckpointError:  # reported by what needs model.json
            return found
        if found.get("run", mine) != mine:
            raise CheckpointError(f"{self.summary} is of another run than {self.model}; put back that of this run")
        return found

    def read_started(self) -> dict[str, Any]:
        """Return how the run was started: `overrides`, `choices`, and each resume; {} if that is missing."""
        if not os.path.lexists(self.overrides):
            return {}
        found = read_sealed(self.overrides)
        check_started(self.overrides, found)
        return found

    def run_id(self) -> str | None:
        """Return the id of the run, None if an older dltrain started it."""
        found = read_sealed(self.model).get("run")
        return found if isinstance(found, str) else None

    def note_saved(self, step: int) -> None:
        """Write down the step of the newest checkpoint, so that it is missed if it is gone."""
        self.files.replace_json("saved.json", seal({"step": step}))

    def newest_saved(self) -> int:
        """Return the step of the newest checkpoint that was written, 0 if none is known."""
        if not os.path.lexists(self.saved):
            return 0
        step = read_sealed(self.saved).get("step")
        if not isinstance(step, int):
            raise CheckpointError(f"{self.saved} is damaged: step is {step!r:.40}")
        return step

    @property
    def marked(self) -> bool:
        """Whether this is the folder of a run."""
        return self._written.names() is not None

    def mark(self) -> None:
        """Mark the folder as that of a run, unless it is; `written.txt` lists what is written from now on."""
        if not self.marked:
            self._written.begin()

    def clear(self) -> None:
        """Delete what the run in the folder wrote and nothing else; config.yaml last, since it marks a run."""
        if self.marked:
            checkpoint.clear(self.files / "checkpoints")
            self.files.remove_empty("checkpoints")
            self._written.delete()

    def refuse_other_folders(self) -> None:
        """Raise ConfigError if a run would replace files of the user: nothing marks them as those of a run."""
        if self.marked:
            return
        strange = [name for name in self.files.names() if name in (*FILES, *FOLDERS)]
        if not strange and re.fullmatch(r"\d*\n?", _beginning(self.path / "lock")):
            return
        raise ConfigError(
            f"output_dir={self.path}: has a {(strange or ['lock'])[0]} that no run of dltrain wrote (there is no "
            f"{self._written.name}), so nothing in it is deleted or replaced; choose another folder"
        )

    def _note_written(self, name: str) -> None:
        if not name.startswith("checkpoints/"):  # their names say what they are
            self._written.add(name)

    def check_data(self, described: Mapping[str, Any]) -> None:
        """Raise DataError if the data has changed since the run started."""
        try:
            before = read_sealed(self.data)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}; if the run died before it trained, start it again with overwrite=true"
            ) from error
        if changed := [k for k in ("fingerprint", "examples", "splits") if before.get(k) != described.get(k)]:
            files = changed_files(before.get("files"), described.get("files"))
            raise DataError(
                f"the data differs from the data that {self.path} was trained on ({', '.join(changed)} "
                f"changed{files}); restore the data, or start a new run"
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
        self.files.replace_text("config.yaml", text)
        started = {**started, "config": hashlib.sha256(text.encode("utf-8")).hexdigest()}
        self.files.replace_json("overrides.yaml", seal(started))  # JSON is YAML

    @contextlib.contextmanager
    def kept_log(self) -> Generator[None]:
        """Write tracebacks and the logs of other libraries to train.log instead of the terminal."""
        try:
            with logs_to(self.note):
                yield
        except Exception:
            self.note(traceback.format_exc())
            raise
        finally:
            self.release()

    def note(self, text: str) -> None:
        """Append to train.log, if the disk allows; values of environment variables are hidden."""
        with contextlib.suppress(OSError, DiskError), self.files.append("train.log") as file:
            config = self.config.read_text(encoding="utf-8", errors="replace") if self.config.exists() else ""
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}\n{hide(text, [config])}\n")


def _rewrite(file: IO[str], text: str) -> None:
    """Replace the content of an open file."""
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _beginning(path: Path) -> str:
    """Return the first characters of a file, nothing if it is none."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8", errors="replace") as file:
            return file.read(32)
    except OSError:
        return ""


def _lives(process: str) -> bool:
    """Tell whether a process with this id is running."""
    try:
        os.kill(int(process), 0)
    except PermissionError:  # it belongs to another user
        return True
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    return True


def claim(
    wanted: Path | None, *, name: str, overwrite: bool, trust: tuple[str, ...] = (), now: datetime | None = None
) -> RunFolder:
    """Create and lock the folder of a new run: `wanted`, or `outputs/<date>/<time>-<name>` if None.

    `trust` are the packages that every command on the run has to trust.
    """
    _check_name(wanted or Path("outputs", name), "choose another output_dir or name")
    if wanted is not None:
        return _claim_this(RunFolder(wanted, trust=trust), overwrite=overwrite)
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
        return _claim_this(RunFolder(path, trust=trust), overwrite=False)
    raise ConfigError(f"no free name for a run in {day}; set output_dir")


def _claim_this(folder: RunFolder, *, overwrite: bool) -> RunFolder:
    folder.refuse_other_folders()
    folder.files.make()
    folder.lock()
    try:
        if not overwrite and (folder.config.exists() or checkpoint.steps(folder.checkpoints)):
            raise ConfigError(
                f"output_dir={folder.path}: already contains a run; continue it with "
                f"`{folder.command('resume')}`, choose another folder, or replace it with overwrite=true"
            )
        if overwrite:
            folder.clear()
        folder.mark()
    except BaseException:
        folder.release()
        raise
    return folder


def existing(path: str) -> RunFolder:
    """Return the folder of an existing run, or raise ConfigError."""
    folder = RunFolder(Path(path).expanduser())
    if not folder.path.is_dir():
        raise ConfigError(f"{path}: folder not found; RUN is the run folder that training printed (outputs/...)")
    if not folder.config.is_file() and os.path.lexists(folder.path / ENSEMBLE):
        raise ConfigError(
            f"{path}: is an ensemble of runs, and not a run; dltrain predict and dltrain evaluate take it, other "
            f"commands one of the runs that its {ENSEMBLE} names"
        )
    if not folder.config.is_file():
        problem = "is not a file" if os.path.lexists(folder.config) else "is missing"
        raise ConfigError(f"{path}: not a run folder (config.yaml {problem})")
    _check_name(folder.path, "rename it")
    return folder


def _check_name(path: Path, remedy: str) -> None:
    """Raise for characters that Orbax reads as patterns or path separators: arrays would be written elsewhere."""
    if found := re.search(r"[\\\[\]*?]", str(path.absolute())):
        raise ConfigError(f"{path}: checkpoints cannot be written to a path that contains {found[0]}; {remedy}")

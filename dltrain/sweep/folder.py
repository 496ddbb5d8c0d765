"""The folder of a sweep: claimed, locked while it runs, and removed if it stays empty."""

import contextlib
import importlib
import shutil
from collections.abc import Generator, Sequence
from datetime import datetime
from pathlib import Path

from dltrain.errors import ConfigError
from dltrain.runs.repeat import forget
from dltrain.runs.sweep_files import JOBS, LIST, POPULATION
from dltrain.sweep.unfinished import what_is_left


def claim(place: str | None, *, overwrite: bool) -> Path:
    """Create the folder of a sweep; no other process can claim it."""
    if place is not None:
        folder = Path(place).expanduser().resolve()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
            left = what_is_left(folder) if folder.is_dir() else []
            full = f"output_dir={place}: is not empty; choose another folder, or set overwrite=true"
            raise ConfigError("\n".join([full, *left]))
        folder.mkdir(parents=True, exist_ok=True)
        if link := next((path for path in sorted(folder.iterdir()) if path.is_symlink()), None):
            raise ConfigError(f"{link}: is a link, and nothing is written through one; choose another output_dir")
        for job in _earlier_jobs(folder):
            _clear(job)
        for name in (LIST, POPULATION):
            (folder / name).unlink(missing_ok=True)
        forget(folder)
        shutil.rmtree(folder / JOBS, ignore_errors=True)
        return folder
    now = datetime.now()
    day = Path("multirun", now.strftime("%Y-%m-%d")).resolve()
    day.mkdir(parents=True, exist_ok=True)
    for n in range(1, 1000):
        folder = day / (now.strftime("%H-%M-%S") + (f"-{n}" if n > 1 else ""))
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise ConfigError(f"{day}: too many sweeps started in one second")


def _earlier_jobs(folder: Path) -> list[Path]:
    """Find the job folders of an earlier sweep that are runs, or of jobs that failed before they were."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder
    try:
        names = set((folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return []
    places = {folder / name for name in names if (folder / name).is_dir()}
    found = {path for path in places if folder in path.resolve().parents and path.resolve() == path}
    failed = {path for path in found if {p.name for p in path.iterdir()} <= {"lock", run(path).failure.name}}
    return sorted({path for path in found if run(path).marked} | failed)


def _clear(job: Path) -> None:
    """Delete the run of an earlier sweep; a folder that holds anything else is kept."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder(job)
    run.lock()
    run.clear()
    run.release()
    for path in (run.failure, job / "lock"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        job.rmdir()


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None]:
    """Let no other process run the same sweep meanwhile; a folder that holds nothing else afterwards is removed."""
    held = importlib.import_module("dltrain.runs.folder").RunFolder(folder)
    held.lock()
    try:
        yield
    finally:
        (folder / "lock").unlink(missing_ok=True)
        held.release()
        with contextlib.suppress(OSError):  # it holds something, or is gone
            folder.rmdir()


def remove_empty(folder: Path, jobs: Sequence[Path]) -> None:
    """Remove what a sweep that wrote nothing has made: the folders of its jobs, and its own."""
    shutil.rmtree(folder / JOBS, ignore_errors=True)
    for name in (LIST, POPULATION):
        (folder / name).unlink(missing_ok=True)
    forget(folder)
    inside = {path for job in jobs for path in (job, *job.parents) if folder in path.parents}
    for path in (*sorted(inside, reverse=True), folder):
        with contextlib.suppress(OSError):  # it holds something, or is gone
            path.rmdir()

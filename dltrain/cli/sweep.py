"""A sweep from the command line: its checks, its folder, one job of it, and the table that closes it."""

import contextlib
import importlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dltrain.cli.faults import as_error, report, was_interrupted
from dltrain.composition.compose import make_call, make_request
from dltrain.composition.launch import Job, SweepStopped, check_hydra, launch
from dltrain.composition.overrides import read
from dltrain.config.compose import check_sweep
from dltrain.config.folders import Tree, read_tree
from dltrain.errors import ConfigError, DltrainError, Interrupted, Terminated
from dltrain.runs.files import hide

LAUNCHING = re.compile(r"hydra(/launcher=|/sweeper=|\.launcher\.|\.sweeper\.)")


def sweep(words: Sequence[str], folders: tuple[Path, ...], tree: Tree) -> int:
    """Run every combination; the exit code is that of the first job that failed."""
    launching = [w for w in words if LAUNCHING.match(w)]
    if code := next((w for w in launching if re.search(r"_target_|\.params\b.*\bhydra\b", w)), None):
        raise ConfigError(f"{code}: a launcher or sweeper is chosen by name: hydra/launcher=joblib")
    found = {o.key: (o, values) for o, values in (read(w, tree) for w in words if w not in launching)}
    if wrong := next((o for o, _ in found.values() if o.key.split(".")[0].split("/")[0] == "hydra"), None):
        raise ConfigError(f"{wrong.word}: only hydra/launcher, hydra/sweeper and their parameters may be set")
    place = found.pop("output_dir")[0].value if "output_dir" in found else None
    first = [o if values is None else values[0] for o, values in found.values() if values is None or values]
    check_sweep([v for _, values in found.values() for v in values or []], tree)
    make_call(make_request("train", [o.word for o in first], folders, tree)).compose()
    check_hydra([*launching, *(o.word for o in first if o.key in tree)], folders)
    folder = claim(place, overwrite=any(o.key == "overwrite" and o.value is True for o in first))
    passed = [f"{o.key}={o.text}" if o.key in tree else f"++{o.key}={o.text}" for o, _ in found.values()]
    code = 0
    try:
        launch([*launching, *passed], folder, folders, train=run_job)
    except DltrainError as error:
        if not hasattr(error, "job"):  # nothing was started
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
        code = error.code  # of the first job that failed, reported when it did
    except SweepStopped as stopped:
        code = stopped.code
    except KeyboardInterrupt:  # between two jobs
        code = 130
    importlib.import_module("dltrain.report.sweep").summarise(folder)
    return code


def run_job(job: Job) -> None:
    """Train one combination of a sweep; a failure is reported and kept, then raised."""
    texts = list(job.words)
    print(f"\njob {job.number}: {' '.join(job.words)}", flush=True)
    try:
        call = make_call(make_request("train", job.words, job.folders, read_tree(job.folders)), texts=texts)
        train = importlib.import_module("dltrain.commands.train")
        code = train.run(replace(call, folder=job.folder, job=job.number))
        failed = DltrainError(f"training ended with code {code}") if code else None
        if failed is not None:
            failed.code = code
    except (Interrupted, Terminated) as error:
        raise SweepStopped(report(error, texts=texts)) from error
    except (KeyboardInterrupt, Exception) as error:
        if was_interrupted(error):
            raise SweepStopped(130) from None
        failed = as_error(error)
    if failed is not None:
        failed.job = job.number  # ty: ignore[missing-attribute]
        _keep_failure(job.folder, hide(str(failed), texts))
        report(failed, f"job {job.number}: ", texts)
        raise failed


def _keep_failure(folder: Path, message: str) -> None:
    """Keep why a job never became a run, for the sweep's table: it may have been tried in another process."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder(folder)
    if folder.is_dir() and not run.config.exists():
        with contextlib.suppress(OSError):
            run.failure.write_text(f"{(message.splitlines() or [''])[0]}\n", encoding="utf-8")


def claim(place: str | None, *, overwrite: bool) -> Path:
    """Make the folder of a sweep, which no other start can have."""
    if place is not None:
        folder = Path(place).expanduser().resolve()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not overwrite:
            raise ConfigError(f"output_dir={place}: is not empty; choose another, or overwrite=true")
        folder.mkdir(parents=True, exist_ok=True)
        for job in [p for p in folder.iterdir() if p.name.isdigit() and p.is_dir()]:
            _clear(job)
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


def _clear(job: Path) -> None:
    """Delete the run of an earlier sweep; a folder that holds anything else is left."""
    run = importlib.import_module("dltrain.runs.folder").RunFolder(job)
    run.lock()
    run.clear()
    run.release()
    for path in (run.failure, job / "lock"):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        job.rmdir()

"""The results of a sweep: its table, and everything that follows from it."""

import os
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from dltrain.errors import DltrainError
from dltrain.report.console import Screen, print_warning
from dltrain.report.html.sweep import write_page
from dltrain.report.sweeps.best import Experiment, write_best
from dltrain.report.sweeps.figures import draw_figures
from dltrain.report.sweeps.jobs import constrained, is_sweep, job_folders, known_note, read_job, stopped_jobs
from dltrain.report.sweeps.outcome import Outcome
from dltrain.report.sweeps.table import as_csv, for_terminal, make_rows
from dltrain.runs.files import Files


def summarise(
    folder: Path, paths: Sequence[Path], *, interrupted: Collection[Path] = (), output: str | None = None
) -> None:
    """Print what came of the sweep in `folder`, whose jobs wrote to `paths`, and write it there.

    Files are `sweep.csv`, `experiment/best.yaml`, `report/*.png` and `sweep.html`. Of a sweep that was interrupted
    the table alone is written, and of one with fewer than two finished jobs no figures.

    Args:
        folder: of the sweep.
        paths: the folders of its jobs, in their order.
        interrupted: those of the jobs that a signal has ended.
        output: where to write the page instead.
    """
    read = [read_job(path, os.path.relpath(path, folder)) for path in paths]
    jobs = constrained([replace(job, interrupted=job.folder in interrupted) for job in read])
    if not jobs:
        return
    rows = make_rows(jobs)
    Files(folder).replace_text("sweep.csv", as_csv(rows))
    found, screen = Outcome(folder, tuple(jobs), tuple(rows)), Screen()
    _print_table(found, screen)
    if not any(job.interrupted for job in jobs):
        _conclude(found, screen, output)
    screen.say(f"next    tensorboard --logdir {shlex.quote(str(folder))}", whole=True)


def compare_sweep(folder: Path, output: str | None = None) -> None:
    """Print and write what came of a sweep, from its folder alone."""
    paths = job_folders(folder)
    stopped = {path for path in stopped_jobs(folder) if not (path / "summary.json").exists()}
    summarise(folder, paths, output=output, interrupted=stopped)


def the_sweep(words: Sequence[str]) -> Path | None:
    """Return the folder that words name if it is a single one, of a sweep."""
    folder = Path(words[0]).expanduser().resolve() if len(words) == 1 else None
    return folder if folder and folder.is_dir() and is_sweep(folder) else None


def _print_table(found: Outcome, screen: Screen) -> None:
    screen.say()
    jobs = found.jobs
    ended = {
        "known": sum(bool(job.known) for job in jobs),
        "failed": sum(job.failed for job in jobs),
        "interrupted": sum(job.interrupted for job in jobs),
        "infeasible": sum(bool(job.violated) for job in jobs),
    }
    counts = [f"{len(jobs)} runs", *(f"{count} {how}" for how, count in ended.items() if count)]
    screen.table(", ".join([*counts, "each at its best state"]), *for_terminal(found.rows))
    for job in jobs:
        if job.failed and (job.failure or (job.folder / "train.log").is_file()):
            screen.say(f"job {job.name}: {job.reason}")
    if note := known_note(jobs):
        screen.say(f"known   {note}")
    screen.say(f"table   {found.folder / 'sweep.csv'}", whole=True)


def _conclude(found: Outcome, screen: Screen, output: str | None) -> None:
    """Print what follows from the table, and write the best config, the figures and the page.

    A fault in them does not end the sweep, which has trained.
    """
    for line in found.sentences():
        screen.say(line)
    if not found.finished:
        return
    try:
        best = _write_best(found)
        several = len(found.finished) > 1
        if several and found.importance[0]:
            shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importance[0].items())
            screen.say(f"importance: {shares} (PED-ANOVA of {len(found.finished)} jobs)")
        if front := found.front():
            screen.say(f"pareto  jobs {', '.join(job.name for job in front)}")
        if several:
            screen.doing("drawing the figures of the sweep")
            figures = draw_figures(found)
            screen.end_live()
            screen.say(f"page    {write_page(found, best, figures, output)}", whole=True)
        if best:
            screen.say(f"best    {best.command(found.folder)}", whole=True)
    except DltrainError as error:
        print_warning(f"warning: {error}")
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        print_warning(f"warning: figures or the page of the sweep are missing: {type(error).__name__}: {first}")
    finally:
        screen.end_live()


def _write_best(found: Outcome) -> Experiment | None:
    job = found.best
    if job is None or job not in found.finished:
        return None
    many = f": the best of {len(found.ranked)} configs by {found.monitor}" if len(found.ranked) > 1 else ""
    numbers = found.history.last(job.name) if found.history else None
    last = ", with its last numbers" if numbers else ""
    return write_best(found.folder, job, f"Job {job.name} of a sweep{many}{last}", numbers)

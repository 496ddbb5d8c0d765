"""The end of `dltrain crossval` and `dltrain seeds`: tables, the ensemble of all runs, figures, results as JSON."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from dltrain.errors import DltrainError
from dltrain.inference.ensemble.make import make_ensemble
from dltrain.inference.ensemble.members import Amend
from dltrain.report.console import Screen, print_warning
from dltrain.report.repeats.figures import draw_repeated
from dltrain.report.repeats.results import Repeated, read_repeated
from dltrain.report.repeats.table import print_metrics, print_runs
from dltrain.report.sweeps.jobs import known_note
from dltrain.report.sweeps.table import as_csv, make_rows
from dltrain.runs.files import Files
from dltrain.runs.repeat import CROSSVAL, Repeat

ENSEMBLE = "ensemble"
"""The folder of the ensemble, in that of the sweep."""


def conclude(
    repeat: Repeat, folder: Path, paths: Sequence[Path], amend: Amend, *, screen: Screen | None = None
) -> Repeated:
    """Print and write what came of runs that repeat one training.

    Args:
        repeat: what differs between them.
        folder: of the sweep.
        paths: the folders of the runs, in the order of their values.
        amend: makes the checked config of a run folder.
        screen: where it is printed; None: standard output.
    """
    screen, found = screen or Screen(), read_repeated(repeat, folder, paths)
    print_runs(screen, found)
    Files(folder).replace_text("sweep.csv", as_csv(make_rows(list(found.jobs.values()))))
    if found.jobs:
        found = _with_ensemble(found, amend, screen)
        print_metrics(screen, found)
        _notes(found, screen)
    written = [repeat.write(folder, found.to_json()), *(_draw(found, screen) if found.jobs else ())]
    written += found.made.files if found.made else []
    names = ", ".join(str(path.relative_to(folder)) for path in written)
    screen.say(f"files   {folder}/: {names}")
    _say_next(found, screen)
    return found


def _with_ensemble(found: Repeated, amend: Amend, screen: Screen) -> Repeated:
    """Make the ensemble of all runs; if a fold is missing, or models cannot be averaged, say why there is none."""
    noun = found.repeat.noun
    if found.missing and found.repeat.command == CROSSVAL:
        print_warning(f"note: without all {noun}s there are no out-of-fold predictions, and no ensemble.")
        return found
    if len(found.jobs) < 2:
        return found
    place, notes = found.folder / ENSEMBLE, [job.folder for job in found.jobs.values()]
    screen.doing(f"evaluating the ensemble of {len(notes)} runs")
    try:
        made = make_ensemble(
            notes,
            amend,
            output=place,
            top=len(notes),
            overwrite=True,
            folds_to=found.folder if found.repeat.command == CROSSVAL else None,
            warn=print_warning,
        )
    except DltrainError as error:
        print_warning(f"note: no ensemble: {error}")
        return found
    finally:
        screen.end_live()
    for line in made.notes:
        if "all are taken" not in line:
            print_warning(f"note: {line}")
    return found.with_ensemble(made)


def _notes(found: Repeated, screen: Screen) -> None:
    """Say what a reader must know about the runs and their ensemble."""
    if note := known_note(list(found.jobs.values())):
        screen.say(f"known   {note}")
    made = found.made
    if made and made.calibration:
        fitted = made.calibration
        screen.say(
            f"temperature {fitted.temperature:.3f} of the ensemble, fitted on {fitted.examples:,} {fitted.of} "
            "examples; the predicted classes stay"
        )


def _draw(found: Repeated, screen: Screen) -> list[Path]:
    """Draw the figures; a fault in them does not end the command, which has trained."""
    screen.doing("drawing the figures")
    try:
        return draw_repeated(found)
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        print_warning(f"warning: figures are missing: {type(error).__name__}: {first}")
        return []
    finally:
        screen.end_live()


def _say_next(found: Repeated, screen: Screen) -> None:
    if found.made:
        word = found.made.ensemble.folder.word
        screen.say(f"next    dltrain predict {word} input=FILE, dltrain evaluate {word}", whole=True)
    elif len(found.jobs) > 1:
        screen.say(f"next    tensorboard --logdir {shlex.quote(str(found.folder))}", whole=True)

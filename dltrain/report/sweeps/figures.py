"""The figures of a sweep, in `report` of its folder."""

from collections.abc import Iterator
from pathlib import Path

from dltrain.plots.plot import Plot, plot
from dltrain.report.saved_figures import save_figures
from dltrain.report.sweeps.keys import is_numeric
from dltrain.report.sweeps.outcome import Outcome, front_of
from dltrain.runs.files import Files

NAMES = ("population", "parallel_coordinates", "slices", "contour", "pareto_front")
FEWEST_PAIRS = 6  # different pairs of two keys that are worth a contour


def draw_figures(found: Outcome) -> list[Path]:
    """Draw what the jobs allow, and delete what an earlier sweep in this folder drew; return the paths."""
    paths = save_figures(found.folder, dict(_plots(found)))
    files = Files(found.folder) / "report"
    for name in set(NAMES) - {path.stem for path in paths}:
        files.remove_file(f"{name}.png")
    return paths


def contour_keys(found: Outcome) -> tuple[str, str] | None:
    """Return the two most important numeric keys if there are enough pairs of their values, else None."""
    numeric = [key for key, values in found.keys.items() if is_numeric(values) and None not in values]
    if len(numeric) < 2:
        return None
    first, second = numeric[:2]
    pairs = set(zip(found.keys[first], found.keys[second], strict=True))
    return (first, second) if len(pairs) >= FEWEST_PAIRS else None


def _plots(found: Outcome) -> Iterator[tuple[str, Plot]]:
    scores, metric = found.scores, found.monitor
    if found.history and found.best:  # its members have no single value of a number
        steps = max(int(job.summary["steps"]) for job in found.finished)
        numbers, copies = found.history.numbers, found.history.copies
        yield "population", plot("population.population", numbers, copies, best=found.best.name, steps=steps)
        return
    if found.keys and found.best in found.finished:
        best = found.finished.index(found.best)
        about = found.keys, metric, scores
        yield "parallel_coordinates", plot("parallel.parallel", *about, best=best, higher=found.higher)
        yield "slices", plot("slices.slices", *about, best=best)
        if pair := contour_keys(found):
            x, y = ((key, found.keys[key]) for key in pair)
            yield "contour", plot("contour.contour", x, y, metric, scores, best=best, higher=found.higher)
    if found.objectives is not None:
        names, jobs, values, higher = found.objectives
        front = front_of(values, higher)
        found_by = [job.name for job in jobs]
        yield "pareto_front", plot("pareto.pareto", names, values, found_by, front=front, higher=higher)

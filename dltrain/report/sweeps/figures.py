"""The figures of a sweep, in `report` of its folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dltrain.report.saved_figures import save_figures
from dltrain.report.sweeps.keys import is_numeric
from dltrain.report.sweeps.outcome import Outcome, front_of
from dltrain.runs.files import Files

NAMES = ("population", "parallel_coordinates", "slices", "contour", "pareto_front")
FEWEST_PAIRS = 6  # different pairs of two keys that are worth a contour


def draw_figures(found: Outcome) -> list[Path]:
    """Draw what the jobs allow, and delete what an earlier sweep in this folder drew; return the paths."""
    paths = save_figures(found.folder, _figures(found))
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


def _figures(found: Outcome) -> Iterator[tuple[str, Any]]:
    """Yield the name and the figure of each; matplotlib is imported with the first."""
    scores, metric = found.scores, found.monitor
    if found.history and found.best:  # its members have no single value of a number
        from dltrain.plots.population import population

        steps = max(int(job.summary["steps"]) for job in found.finished)
        yield (
            "population",
            population(found.history.numbers, found.history.copies, best=found.best.name, steps=steps),
        )
        return
    if found.keys and found.best in found.finished:
        from dltrain.plots.parallel import parallel
        from dltrain.plots.slices import slices

        best = found.finished.index(found.best)
        yield "parallel_coordinates", parallel(found.keys, metric, scores, best=best, higher=found.higher)
        yield "slices", slices(found.keys, metric, scores, best=best)
        if pair := contour_keys(found):
            from dltrain.plots.contour import contour

            x, y = ((key, found.keys[key]) for key in pair)
            yield "contour", contour(x, y, metric, scores, best=best, higher=found.higher)
    if found.objectives is not None:
        from dltrain.plots.pareto import pareto

        names, jobs, values, higher = found.objectives
        front = front_of(values, higher)
        yield "pareto_front", pareto(names, values, [job.name for job in jobs], front=front, higher=higher)

"""The page of a sweep: its table, what mattered, the curves of its jobs, figures, failures, and the best config."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dltrain.errors import DltrainError
from dltrain.inference.card import number
from dltrain.inference.record import Record, read_record
from dltrain.plots.svg import PALETTE, Line, thinned
from dltrain.report.console import shown
from dltrain.report.html.curves import HINT, interactive
from dltrain.report.html.figures import ALL, picture
from dltrain.report.html.page import Markup, Section, bullets, element, folded, join, page, pre, table, warning
from dltrain.report.html.run import html_path
from dltrain.report.sweeps.best import NAME, Experiment
from dltrain.report.sweeps.keys import varied
from dltrain.report.sweeps.outcome import Outcome
from dltrain.report.sweeps.table import Row, spread
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder

PAGE = "sweep.html"
MOST = 40  # jobs whose curves are drawn
POINTS = 200  # of a curve
GREY = "#9ca3af"
DRAWN = ("train", "validation")  # splits whose curves are drawn


def write_page(found: Outcome, best: Experiment | None, figures: Sequence[Path], output: str | None) -> Path:
    """Write the page of a sweep; `output` None: into its folder.

    Raises:
        ConfigError: `output` does not end in .html.
        DiskError: the file cannot be written.
    """
    path = html_path(output) if output else found.folder / PAGE
    Files(path.parent).replace_text(path.name, sweep_page(found, best, figures))
    return path


def sweep_page(found: Outcome, best: Experiment | None, figures: Sequence[Path]) -> str:
    """Return the page of a sweep as HTML."""
    records = _records(found)
    data = next((record.data_name for record in records.values()), "")
    failed = [job for job in found.jobs if job.failed]
    title = f"Sweep of {len(found.jobs)} jobs" + (f" on {data}" if data else "")
    subtitle = f"{len(found.rows)} configs, each job at its best state" + (
        f"; ranked by {found.monitor}" if found.monitor else ""
    )
    sections = [
        Section("Results", join(_results(found), bullets(found.sentences()), _front(found))),
        *([Section("Best config", _best(found, best))] if best else []),
        Section("Importance", _importance(found)),
        Section("Curves", _curves(found, records)),
        *([Section("Figures", _figures(found, figures))] if figures else []),
        *([Section("Failed jobs", _failed(found))] if failed else []),
    ]
    return page(title, subtitle, join(_tiles(found), warning(_notes(found))), sections)


def _records(found: Outcome) -> dict[str, Record]:
    """Read the best jobs, as many as have their curves drawn: name -> record; damaged ones are left out."""
    sign = -1 if found.higher else 1
    records = {}
    for job in sorted(found.finished, key=lambda job: sign * (job.score or 0.0))[:MOST]:
        try:
            records[job.name] = read_record(RunFolder(job.folder))
        except DltrainError:
            continue
    return records


def _tiles(found: Outcome) -> Markup:
    """Show the result of the best job and the numbers of jobs in large numbers."""
    best, failed = found.best, sum(job.failed for job in found.jobs)
    large = []
    if best:
        large.append((shown(best.score), f"{found.monitor} of job {best.name}, the best of {len(found.finished)}"))
    if best and best.test is not None:
        large.append((shown(best.test), f"test/{found.metric} of job {best.name}"))
    large.append((str(len(found.jobs)), f"jobs, {failed} failed" if failed else "jobs"))
    made = (element("div", element("b", value), element("span", label), class_="tile") for value, label in large)
    return element("div", *made, class_="tiles")


def _notes(found: Outcome) -> list[str]:
    others = sorted({row.monitor for row in found.rows if row.monitor} - {found.monitor})
    if not others:
        return []
    return [f"Other jobs monitored {', '.join(others)}; importance, figures and curves leave them out."]


def _results(found: Outcome) -> Markup:
    """Show a row for each config: the value of each key that is varied, and its results."""
    keys = list(varied([row.jobs[0] for row in found.rows if row.jobs[0].overrides]))
    monitors = list(dict.fromkeys(row.monitor for row in found.rows if row.monitor))
    headings = ["jobs", *keys]
    for monitor in monitors:
        headings += [monitor, f"test/{monitor.partition('/')[2]}"]
    rows = [[row.folders.replace(" ", ", "), *_values(row, keys), *_cells(row, monitors)] for row in found.rows]
    headings += ["seconds"]
    if any(row.violated for row in found.rows):
        headings += ["violates"]
        rows = [[*cells, row.violated] for cells, row in zip(rows, found.rows, strict=True)]
    words = "Each job at its best state. Of several seeds or folds: mean ± standard deviation."
    return join(element("p", words, class_="subtitle"), table(headings, rows))


def _values(row: Row, keys: Sequence[str]) -> list[str]:
    found = dict(word.lstrip("+").partition("=")[::2] for word in row.jobs[0].overrides)
    return [found.get(key, "") for key in keys]


def _cells(row: Row, monitors: Sequence[str]) -> list[str]:
    cells: list[str] = []
    for monitor in monitors:
        cells += [spread(row.scores), spread(row.tests)] if row.monitor == monitor else ["", ""]
    if not row.scores and row.failed and monitors:
        cells[0] = "failed"
    seconds = [job.summary["seconds"] for job in row.jobs if "seconds" in job.summary]
    return [*cells, f"{sum(seconds):,.1f}" if seconds else ""]


def _front(found: Outcome) -> Markup:
    if not (front := found.front()) or found.objectives is None:
        return Markup()
    names = found.objectives[0]
    rows = [[job.name, *(number(job.value(name)) for name in names)] for job in front]
    return table(["job", *names], rows, "Pareto front: no other job is better in both")


def _best(found: Outcome, best: Experiment) -> Markup:
    words = f"Job {found.best.name if found.best else ''}. This trains it again, from experiment/{NAME}.yaml:"
    return join(
        element("p", words),
        pre(best.command(found.folder)),
        folded(f"experiment/{NAME}.yaml", pre(best.files[f"experiment/{NAME}.yaml"])),
    )


def _importance(found: Outcome) -> Markup:
    shares, reason = found.importance
    if not shares:
        return element("p", f"Not computed: {reason}.")
    words = (
        f"How much each key decided whether a job is among the best, of {len(found.finished)} jobs (PED-ANOVA). It "
        "holds for the values that were tried; with few jobs it is rough."
    )
    rows = [[key, f"{share:.0%}", _bar(share)] for key, share in shares.items()]
    return join(element("p", words, class_="subtitle"), table(["key", "importance", ""], rows, numbers=False))


def _bar(share: float) -> Markup:
    return Markup(
        f'<svg width="160" height="14" aria-hidden="true"><rect width="{max(1.0, 160 * share):.0f}" height="14" '
        f'rx="2" fill="{PALETTE[0]}"/></svg>'
    )


def _curves(found: Outcome, records: Mapping[str, Record]) -> Markup:
    """Lay the curves of the jobs over each other: the best have colours, in their order, the others are grey."""
    charts = []
    for metric in dict.fromkeys(("loss", found.metric)):
        for split in DRAWN:
            if lines := _lines(records, metric, split):
                charts.append(interactive(f"{metric} on {split}", lines))
    if not charts:
        return element("p", "No curve has been recorded.")
    several = f"The best {len(PALETTE)} jobs have colours, in their order; others are grey. "
    about = several if len(records) > len(PALETTE) else "The best job comes first. "
    many = f"The best {MOST} jobs are drawn. " if len(found.finished) > MOST else ""
    return join(
        element("p", about, many, HINT, class_="subtitle"),
        element("div", *charts, class_="charts"),
    )


def _lines(records: Mapping[str, Record], metric: str, split: str) -> list[Line]:
    lines = []
    for i, (name, record) in enumerate(records.items()):
        if split in (curves := record.curves.get(metric, {})):
            steps, values = thinned(*curves[split], most=POINTS)
            lines.append(Line(f"job {name}", steps, values, PALETTE[i] if i < len(PALETTE) else GREY))
    return lines


def _figures(found: Outcome, figures: Sequence[Path]) -> Markup:
    parts, left = [], ALL
    for path in figures:
        part, size = picture(path, found.folder, left)
        parts.append(part)
        left -= size
    return join(*parts)


def _failed(found: Outcome) -> Markup:
    rows = [[job.name, " ".join(job.overrides), job.reason] for job in found.jobs if job.failed]
    return table(["job", "overrides", "reason"], rows, numbers=False)

"""What `dltrain inspect` finds in data, and its report: text, CSV, figures and TensorBoard."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from dltrain.build.look import Look
from dltrain.data.quality.columns import column_findings, missing_findings
from dltrain.data.quality.examples import example_findings, unreadable_findings
from dltrain.data.quality.finding import Finding, What, ordered
from dltrain.data.quality.leaks import imbalance_findings, leak_findings
from dltrain.data.quality.rows import date_findings, row_findings
from dltrain.data.quality.series import series_findings
from dltrain.data.series.windows import Windows
from dltrain.data.tables.columns import Meaning
from dltrain.report.console import Screen
from dltrain.report.width import Column
from dltrain.runs.files import Files
from dltrain.runs.tensorboard import EventWriter
from dltrain.types import Kind

EACH = 8  # images of a class that are drawn


def findings(look: Look) -> list[Finding]:
    """Return everything that is found, the most harmful kinds first."""
    found = list(unreadable_findings(_bad(look)))
    if look.spec.has_labels and look.target is not None:
        counts = np.bincount(look.target, minlength=len(look.spec.classes)).tolist()
        found += imbalance_findings(dict(zip(look.spec.classes, counts, strict=True)))
    if hasattr(look.source, "frame") and hasattr(look.source, "columns"):
        found += _of_table(look)
    elif isinstance(look.source, Windows):
        found += series_findings(look.source.rows, look.source.season)
    elif hasattr(look.source, "read") and not look.spec.task.examples_may_repeat:
        found += example_findings(look.source, look.splits, look.where)
    elif not hasattr(look.source, "read"):
        text = "rows and columns were not compared: the data does not fit into memory"
        found.append(Finding(What.UNCHECKED, "", text, "inspect a part of it"))
    return ordered(found)


def _of_table(look: Look) -> Iterator[Finding]:
    frame, every = look.source.frame, np.arange(len(look.source))
    columns = look.source.columns(every)
    yield from column_findings(frame, columns, look.where)
    yield from missing_findings(frame, columns, look.target)
    if look.target is not None:
        yield from leak_findings(frame, columns, look.target, classes=look.spec.has_labels)
    yield from row_findings(frame, columns, look.splits, look.where)
    yield from date_findings(frame, columns, look.splits)


def _bad(look: Look) -> list[list[str]]:
    """Return the cells of each row of `bad_rows`, without its header."""
    text = look.description.bad_rows if look.description else ""
    return list(csv.reader(io.StringIO(text)))[1:]


def show_description(screen: Screen, look: Look) -> None:
    """Print what was read: notes about the files, and their columns."""
    about = look.description
    sizes = ", ".join(f"{len(look.splits[n])} {n}" for n in ("train", "validation", "test") if len(look.splits[n]))
    screen.say(f"data    {len(look.source):,} examples: {sizes}; {look.spec.task}", result=True)
    for note in getattr(look.source, "notes", ()):
        screen.say(f"        {note}", result=True)
    if about is None:
        return
    for note in about.notes:
        screen.say(f"        {note}", result=True)
    if about.rows:
        columns = [Column(heading, drop=i if i > 1 else 0) for i, heading in enumerate(about.headings)]
        screen.table("columns", columns, [[str(cell) for cell in row] for row in about.rows])


def show_findings(screen: Screen, found: list[Finding]) -> None:
    """Print each finding, with what to do about it."""
    screen.say()
    for one in found:
        where = f" {one.where}:" if one.where else ""
        advice = f"; {one.advice}" if one.advice else ""
        screen.say(f"{one.what}:{where} {one.text}{advice}", result=True)
    screen.say(f"{len(found)} finding{'s' * (len(found) > 1)}" if found else "nothing found", result=True)


def write_report(look: Look, found: list[Finding], files: Files, title: str) -> list[str]:
    """Write findings.csv and the figures, also for TensorBoard; return the names of the files."""
    from dltrain.plots.png import png_bytes
    from dltrain.plots.style import default_style

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["what", "where", "found", "advice"])
    writer.writerows([one.what, one.where, one.text, one.advice] for one in found)
    files.replace_text("findings.csv", table.getvalue())
    with default_style():
        pngs = {name: png_bytes(figure) for name, figure in _figures(look).items()}
    events = EventWriter(files / "tensorboard")
    lines = [f"- **{one.what}** {one.where}: {one.text}; {one.advice}" for one in found] or ["nothing found"]
    events.text(0, f"findings/{title}", "\n".join(lines))
    for name, png in pngs.items():
        files.replace(f"{name}.png", png)
        events.image(0, f"inspect/{name}", png)
    events.close()
    return ["findings.csv", *(f"{name}.png" for name in pngs)]


def _figures(look: Look) -> dict[str, Any]:
    from dltrain.plots.columns import columns, correlations, gaps
    from dltrain.plots.gallery import gallery
    from dltrain.plots.series import series

    if isinstance(look.source, Windows):
        rows = look.source.rows
        return {"series": series(rows.values, rows.columns, look.source.ends)}
    named = dict(_drawn(look))
    figures = {"columns": columns(named)} if named else {}
    if images := _images_of_classes(look):
        counts = np.bincount(look.targets, minlength=len(look.spec.classes)).tolist()
        figures["images"] = gallery(images, dict(zip(look.spec.classes, counts, strict=True)))
    if frame := _frame(look):
        missing = np.stack([values.is_null().to_numpy() for values in frame], 1)
        if missing.any():
            figures["missing"] = gaps(missing, [values.name for values in frame])
    numbers = {name: values for name, values in named.items() if values.dtype.kind == "f"}
    if len(numbers) > 1:
        figures["correlations"] = correlations(_correlations(list(numbers.values())), list(numbers))
    return figures


def _images_of_classes(look: Look) -> dict[str, np.ndarray]:
    """Return a few images of each class that has any; nothing for other data."""
    spec = look.spec
    if not spec.has_labels or not spec.inputs or spec.shown.kind is not Kind.IMAGE or len(spec.inputs) > 1:
        return {}
    chosen = {name: np.flatnonzero(look.targets == i)[:EACH] for i, name in enumerate(spec.classes)}
    return {name: look.source.read(found)["inputs"] for name, found in chosen.items() if len(found)}


def _frame(look: Look) -> list[Any]:
    return list(look.source.frame.get_columns()) if hasattr(look.source, "frame") else []


def _drawn(look: Look) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is drawn of each column: floats, or texts."""
    import polars as pl

    target = look.target
    if target is not None:
        names = np.array(look.spec.classes) if look.spec.has_labels else None
        yield "target", names[target] if names is not None else target.astype(np.float64)
    if not hasattr(look.source, "columns") or not hasattr(look.source, "frame"):
        return
    for column in look.source.columns(np.arange(len(look.source))):
        values = look.source.frame[column.name]
        if column.meaning is Meaning.NUMBER:
            yield column.name, values.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        elif column.meaning is Meaning.CATEGORY:
            yield column.name, values.cast(pl.String).fill_null("").to_numpy().astype(str)


def _correlations(columns: list[np.ndarray]) -> np.ndarray:
    """Return correlations of columns over the rows where both are known, [C, C]."""
    found = np.eye(len(columns))
    for i, one in enumerate(columns):
        for j, other in enumerate(columns[:i]):
            known = np.isfinite(one) & np.isfinite(other)
            a, b = one[known], other[known]
            if len(a) > 1 and a.std() > 0 and b.std() > 0:
                found[i, j] = found[j, i] = np.corrcoef(a, b)[0, 1]
    return found

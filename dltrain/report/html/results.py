"""The results of one run: what comes first in its report."""

from collections.abc import Mapping, Sequence

from dltrain.inference.card import number
from dltrain.inference.record import Record
from dltrain.report.facts import evaluated_split, interval_of, of_parts, overall
from dltrain.report.html.page import Markup, element, folded, join, table

FEW = 30  # parts of an evaluation that are shown at once
MOST = 100  # rows of the table of evaluations
TILES = 4  # metrics in large numbers
STATES = {"best": "best state", "final": "final state", "raw": "final state without EMA"}


def tiles(record: Record) -> Markup:
    """Show the most important metrics of the best state in large numbers, the monitored one first."""
    split = evaluated_split(record)
    if split is None:
        return Markup()
    metrics, monitored = record.best(split), record.monitor[1]
    names = [name for name in metrics if "/" not in name and metrics[name] is not None]
    names.sort(key=lambda name: (name != monitored, name == "loss"))
    made = []
    for name in names[:TILES]:
        interval = interval_of(record, split, name)
        more = f", 95 % interval {number(interval[0])} to {number(interval[1])}" if interval else ""
        label = element("span", f"{name} on {split}{more}")
        made.append(element("div", element("b", number(metrics[name])), label, class_="tile"))
    return element("div", *made, class_="tiles")


def results(record: Record) -> Markup:
    """Show the metrics of every split and state, those of the baselines, and what `dltrain evaluate` found."""
    rows: list[tuple[str, dict[str, float | None]]] = []
    for result in record.results():
        name = f"{result.split}, {STATES[result.state]} (step {result.step:,})"
        rows.append((name, dict(result.metrics)))
    for split, found in record.summary.get("baselines", {}).items():
        rows += [(f"{split}, baseline: {name}", dict(metrics)) for name, metrics in found.items()]
    if not rows:
        return element("p", "There are no final results yet.")
    names = list(dict.fromkeys(name for _, metrics in rows for name in metrics))
    plain, of_parts = [n for n in names if "/" not in n], [n for n in names if "/" in n]
    parts = [_metrics(rows, plain)]
    if of_parts:
        parts.append(folded("Metrics of single parts", _metrics(rows, of_parts, turned=True)))
    return join(*parts, *(_evaluation(name, record) for name in record.evaluations))


def evaluations(record: Record) -> Markup:
    """Show what was recorded of each evaluation during training, the last ones first."""
    rows = [row for row in reversed(record.rows) if row["split"] != "train"][:MOST]
    names = list(dict.fromkeys(n for row in rows for n in row if n not in ("step", "split") and "/" not in n))
    cells = [[f"{row['step']:,}", row["split"], *(number(row.get(name)) for name in names)] for row in rows]
    return (
        folded(f"The last {len(rows)} evaluations", table(["step", "split", *names], cells)) if rows else Markup()
    )


def _metrics(
    rows: Sequence[tuple[str, dict[str, float | None]]], names: Sequence[str], *, turned: bool = False
) -> Markup:
    """Make a table of metrics; `turned`: with a line for each metric, since there are many."""
    if turned:
        kept = [(title, metrics) for title, metrics in rows if any(name in metrics for name in names)]
        cells = [[name, *(_cell(metrics, name) for _, metrics in kept)] for name in names]
        return table(["metric", *(title for title, _ in kept)], cells)
    return table(["split and state", *names], [[title, *(_cell(m, n) for n in names)] for title, m in rows])


def _cell(metrics: dict[str, float | None], name: str) -> str:
    return number(metrics[name]) if name in metrics else ""


def _evaluation(name: str, record: Record) -> Markup:
    """Show one evaluation: all metrics with their intervals, and those of each class or target."""
    found = record.evaluations[name]
    parts = [element("h3", f"dltrain evaluate: {name}, step {found.get('step', 'unknown')}")]
    how = found.get("intervals")
    if isinstance(how, Mapping) and "method" in how:
        parts.append(element("p", f"Intervals: {how['method']}. {how.get('note', '')}", class_="subtitle"))
    metrics, by_part = overall(found), of_parts(found)
    if metrics:
        rows = [[m.name, number(m.value), _interval(m.interval)] for m in metrics]
        parts.append(table(["metric", "value", "interval"], rows))
    if by_part:
        names = list(dict.fromkeys(m.name for row in by_part.values() for m in row))
        cells = [
            [title, *({m.name: m.text for m in row}.get(n, "") for n in names)] for title, row in by_part.items()
        ]
        made = table([str(found.get("kind", "part")), *names], cells)
        parts.append(made if len(cells) <= FEW else folded(f"Each of the {len(cells)} parts", made))
    return join(*parts) if metrics or by_part else Markup()


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{number(interval[0])} to {number(interval[1])}" if interval else ""

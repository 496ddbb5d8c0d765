"""The page that compares several runs, and the same table for the terminal."""

from pathlib import Path

from dltrain.inference.card import number, splits_first
from dltrain.plots.svg import PALETTE, Line, thinned
from dltrain.report.comparison import Comparison
from dltrain.report.groups import Group, more_seeds
from dltrain.report.html.curves import HINT, interactive
from dltrain.report.html.page import Markup, Section, bullets, element, folded, join, page, pre, table, warning
from dltrain.report.html.run import html_path
from dltrain.report.width import Column
from dltrain.runs.files import Files

MOST = 40  # lines of a chart
DRAWN = ("train", "validation")  # splits whose curves are drawn
DASHES = ("", "7 3", "2 3")  # of groups that have the same colour


def write_comparison(found: Comparison, output: str | Path) -> Path:
    """Write the page of a comparison to PATH.html.

    Raises:
        ConfigError: the path does not end in .html.
        DiskError: the file cannot be written.
    """
    path = html_path(output)
    Files(path.parent).replace_text(path.name, comparison_page(found))
    return path


def comparison_page(found: Comparison) -> str:
    """Return the page of a comparison as HTML."""
    names = " and ".join(dict.fromkeys(record.data_name for record in found.records))
    title = f"Comparison of {len(found.records)} runs on {names}"
    subtitle = f"{len(found.groups)} configs; results of the best states on {found.split}, ranked by {found.metric}"
    sections = [
        Section("Results", join(_results(found), bullets(found.verdicts()), _seeds(found))),
        Section("Config differences", _differences(found)),
        Section("Curves", _curves(found)),
        Section("Runs", _runs(found)),
    ]
    return page(title, subtitle, warning([*found.warnings, *found.notes]), sections)


def terminal_table(found: Comparison) -> tuple[list[Column], list[list[str]]]:
    """Return the columns and rows of the table for a terminal: what groups differ in, and their results."""
    columns = [Column(""), Column("runs", wraps=True)]
    columns += [Column(key, wraps=True, drop=i + 1) for i, key in enumerate(found.chosen)]
    columns += [Column(f"{found.split}/{name}", right=True) for name in found.metrics]
    rows = []
    for i, group in enumerate(found.groups):
        values = [of[i] for of in found.chosen.values()]
        rows.append([group.name, group.runs, *values, *(_cell(found, group, name) for name in found.metrics)])
    return columns, rows


def _cell(found: Comparison, group: Group, metric: str) -> str:
    """Write mean ± deviation [interval], as far as they are known; with a mark if the data is another."""
    spread, interval = group.spread(found.split, metric), group.interval(found.split, metric)
    if spread is None:
        return ""
    deviation = f" ± {number(spread.deviation)}" if spread.deviation is not None else ""
    between = f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""
    mark = "" if found.comparable(group, found.groups[0]) else " (other data)"
    return f"{number(spread.mean)}{deviation}{between}{mark}"


def _results(found: Comparison) -> Markup:
    """Show the metrics of every group on every split, those of the compared split first."""
    headings = ["group", "seeds", *found.chosen, *found.metrics]
    rows = [
        [
            f"{group.name}: {group.runs}",
            str(len(group.values(found.split, found.metric))),
            *(values[i] for values in found.chosen.values()),
            *(_cell(found, group, name) for name in found.metrics),
        ]
        for i, group in enumerate(found.groups)
    ]
    words = (
        f"Best states on {found.split}. Of several seeds: mean ± standard deviation [95 % interval of the mean, "
        "Student's t]. Of a single run: the value, and [95 % interval over examples] if it was evaluated."
    )
    return join(element("p", words, class_="subtitle"), table(headings, rows))


def _seeds(found: Comparison) -> Markup:
    """Offer the commands that train more seeds, where a group has only one."""
    lines = [line for group in found.groups if len(group.records) < 2 and (line := more_seeds(group))]
    if not lines:
        return Markup()
    return folded("Commands that train more seeds", pre("\n".join(lines)))


def _differences(found: Comparison) -> Markup:
    if not found.keys:
        return element("p", "The configs are the same apart from seeds, names and folders.")
    headings = ["key", *(group.name for group in found.groups)]
    short, whole = (
        table(headings, [[k, *v] for k, v in of.items()], numbers=False) for of in (found.chosen, found.keys)
    )
    if found.chosen == found.keys:
        return whole
    return join(short, folded(f"All {len(found.keys)} keys that differ, those of other parts included", whole))


def _curves(found: Comparison) -> Markup:
    """Lay the curves of all runs over each other: a colour for each group."""
    charts = []
    for metric in dict.fromkeys(("loss", found.metric)):
        for split in splits_first([s for s in DRAWN if any(s in r.curves.get(metric, {}) for r in found.records)]):
            charts.append(interactive(f"{metric} on {split}", _lines(found, metric, split)))
    if not charts:
        return element("p", "No metric has been recorded.")
    many = f" The first {MOST} runs are drawn." if len(found.records) > MOST else ""
    return join(
        element("p", f"Each group has a colour.{many} ", HINT, class_="subtitle"),
        element("div", *charts, class_="charts"),
    )


def _lines(found: Comparison, metric: str, split: str) -> list[Line]:
    lines = []
    for i, group in enumerate(found.groups):
        for record, label in zip(group.records, group.labels, strict=True):
            if split in (curves := record.curves.get(metric, {})):
                steps, values = thinned(*curves[split])
                dash = DASHES[i // len(PALETTE) % len(DASHES)]
                lines.append(Line(f"{group.name}: {label}", steps, values, PALETTE[i % len(PALETTE)], dash))
    return lines[:MOST]


def _runs(found: Comparison) -> Markup:
    """List the runs: where they are, their seeds, lengths and single results."""
    rows = []
    for group in found.groups:
        for record, label in zip(group.records, group.labels, strict=True):
            best = record.best(found.split)
            rows.append([
                f"{group.name}: {label}",
                str(record.config.get("seed", "")),
                f"{record.steps:,}",
                str(record.summary.get("stop_reason", "not finished")),
                f"{record.summary['seconds']:,.1f}" if "seconds" in record.summary else "",
                *(number(best[name]) if name in best else "" for name in found.metrics),
            ])  # fmt: skip
    return table(["run", "seed", "steps", "stopped because", "seconds", *found.metrics], rows)

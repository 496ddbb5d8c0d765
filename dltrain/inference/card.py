"""A run as a small card of HTML, for notebooks: result, data, model and curves. No script, no style sheet."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.inference.record import Record
from dltrain.plots.svg import Line, chart, lines, wants_log

MOST = 6  # metrics of a table


def run_card(record: Record) -> str:
    """Return the card of a run; it takes the colours of the page that it is in."""
    about = [
        ("folder", str(record.path)),
        ("data", _data(record)),
        ("model", _model(record)),
        ("run", _run(record)),
    ]
    rows = "".join(f"<tr>{_cell(name, 'th')}{_cell(text)}</tr>" for name, text in about if text)
    return (
        '<div style="max-width:44em;border:1px solid #8888;border-radius:8px;padding:0.6em 1em;margin:0.3em 0">'
        f'<div style="font-weight:600">{html.escape(record.title)}</div>'
        f"{_results(record)}<table>{rows}</table>{_curves(record)}</div>"
    )


def splits_first(found: Sequence[str]) -> list[str]:
    """Order the splits of a curve: train, validation, and any others by name."""
    known = ("train", "train_evaluated", "validation", "test")
    return sorted(found, key=lambda split: (known.index(split) if split in known else len(known), split))


def split_lines(record: Record, metric: str) -> list[Line]:
    """Return the curves of a metric, one for each split that has more than one point, or else all."""
    by_split = record.curves.get(metric, {})
    curves = [(split, *by_split[split]) for split in splits_first(list(by_split))]
    return lines([curve for curve in curves if len(curve[1]) > 1] or curves)


def key(found: Sequence[Line]) -> str:
    """Return the legend of a chart, without a script."""
    marks = (
        f'<span style="display:inline-block;white-space:nowrap;margin-right:1em"><span style="color:{line.colour}">'
        f"&#9632;</span> {html.escape(line.name)}</span>"
        for line in found
    )
    return "".join(marks)


def number(value: Any) -> str:
    """Format a metric as the console does: four decimals, or four digits where it is very small or large."""
    if value is None or isinstance(value, str | bool):
        return "undefined" if value is None else str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"


def counted(examples: Mapping[str, int]) -> str:
    """Say how many examples each split has: `1,294 train, 144 validation`."""
    return ", ".join(f"{count:,} {split}" for split, count in examples.items() if count)


def _results(record: Record) -> str:
    found = [result for result in record.results() if result.state == "best"]
    names = list(dict.fromkeys(n for result in found for n in result.metrics if "/" not in n))[:MOST]
    if not found:
        return f"<div>{html.escape(record.notes[0]) if record.notes else ''}</div>"
    head = "".join(_cell(name, "th") for name in ("best state", *names))
    rows = (
        f"<tr>{_cell(f'{result.split} (step {result.step:,})', 'th')}"
        + "".join(_cell(number(result.metrics.get(name))) for name in names)
        + "</tr>"
        for result in found
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _data(record: Record) -> str:
    return ": ".join(t for t in (record.choices.get("data", ""), counted(record.data.get("examples", {}))) if t)


def _model(record: Record) -> str:
    size = record.summary.get("parameters")
    return ", ".join(t for t in (record.choices.get("model", ""), f"{size:,} parameters" if size else "") if t)


def _run(record: Record) -> str:
    if not record.finished:
        return f"not finished, step {record.steps:,}"
    seconds = f"{record.summary.get('seconds', 0):.1f} s"
    return f"{record.summary.get('stop_reason', '')}: {record.steps:,} steps in {seconds}"


def _curves(record: Record) -> str:
    parts = []
    for metric in record.charted:
        if found := split_lines(record, metric):
            title = f"{metric} by step"
            drawn = chart(
                found, title, log=metric == "loss" and wants_log(found), mark=record.summary.get("best_step")
            )
            parts.append(
                f'<div style="flex:1 1 16em;min-width:0"><div>{html.escape(metric)} {key(found)}</div>{drawn}</div>'
            )
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(parts)}</div>' if parts else ""


def _cell(text: str, tag: str = "td") -> str:
    return f'<{tag} style="text-align:left">{html.escape(text)}</{tag}>'

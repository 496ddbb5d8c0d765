"""The scores of a split on the screen: metrics with their intervals, then a row for each class or target."""

from collections.abc import Mapping, Sequence

from dltrain.inference.scores import Estimate, Scores
from dltrain.inference.scores.bootstrap import OVERLAP
from dltrain.inference.scores.scores import Part
from dltrain.report.console import Screen, shown
from dltrain.report.width import Column

ROWS = 20  # classes, targets or steps that are printed
WITH_INTERVAL = ("f1", "rmse")  # of a class or target
PRINTED = ("precision", "recall", "f1", "iou", "auroc", "average_precision", "rmse", "mae", "bias", "r2")


def print_scores(screen: Screen, scores: Scores) -> None:
    """Print tables of the scores of a split."""
    level = f"{scores.resampling.level:.0%} interval"
    columns = [Column("metric"), Column("value", right=True), Column(level, right=True)]
    columns += (
        [Column("flip", right=True), Column(f"{level} of flip", right=True, drop=1)] if scores.flipped else []
    )
    rows = [_row(name, scores) for name in (*scores.metrics, *scores.further) if not _of_part(name, scores)]
    screen.table("overall", columns, rows)
    if scores.resampling.overlap:
        screen.say(f"note: {OVERLAP}")
    if scores.parts:
        _print_parts(screen, scores.kind, scores.parts)
    if scores.steps:
        _print_parts(screen, "step", scores.steps)
    if scores.confused:
        few = scores.confused[:3]
        pairs = ", ".join(f"{c.truth} taken for {c.predicted} {_times(c.count)} ({c.share:.0%})" for c in few)
        screen.say(f"most confused: {pairs}")


def _of_part(name: str, scores: Scores) -> bool:
    """Tell whether a metric is that of one class or target, which has a row of its own in another table."""
    return bool(scores.parts) and name.partition("/")[2] in {part.name for part in scores.parts}


def _row(name: str, scores: Scores) -> list[str]:
    estimate = scores.metrics.get(name) or scores.further[name]
    row = [name, _value(estimate), _interval(estimate)]
    if scores.flipped:
        flipped = scores.flipped.get(name)
        row += [_value(flipped), _interval(flipped)] if flipped else ["", ""]
    return row


def _print_parts(screen: Screen, kind: str, parts: Sequence[Part]) -> None:
    words = [name for name in PRINTED if name in parts[0].metrics]
    unit = next(iter(parts[0].counts))
    columns = [Column(kind), Column(unit, right=True)]
    for name in words:
        columns.append(Column(name, right=True, drop=0 if name in WITH_INTERVAL else 1 + PRINTED.index(name)))
        columns += [Column("interval", right=True, drop=len(PRINTED) + 1)] if name in WITH_INTERVAL else []
    rows = [[part.name, f"{part.counts[unit]:,}", *_cells(part.metrics, words)] for part in parts[:ROWS]]
    more = f" (the first {ROWS} of {len(parts):,}; the file has all)" if len(parts) > ROWS else ""
    screen.table(f"by {kind}{more}", columns, rows)


def _cells(metrics: Mapping[str, Estimate], words: Sequence[str]) -> list[str]:
    cells = []
    for name in words:
        cells.append(_value(metrics[name]))
        cells += [_interval(metrics[name])] if name in WITH_INTERVAL else []
    return cells


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _value(estimate: Estimate) -> str:
    return shown(estimate.value) if estimate.value == estimate.value else "-"


def _interval(estimate: Estimate) -> str:
    return f"{shown(estimate.low)} to {shown(estimate.high)}" if estimate.low == estimate.low else ""

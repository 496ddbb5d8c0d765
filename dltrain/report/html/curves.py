"""Interactive curves: a chart that is drawn already, and its values for the script of the page."""

import json
from collections.abc import Sequence

from dltrain.inference.card import split_lines
from dltrain.inference.record import Record
from dltrain.plots.svg import Line, chart, wants_log
from dltrain.report.html.page import Markup, element, folded, join

LATER = ("learning_rate", "gradient_norm", "parameter_norm", "examples_per_second")
"""Metrics of the training itself, which come last."""
MOST = 24  # charts of a page
HINT = element("span", "Point at a chart to read values; click a name to hide its line.", class_="hint")


def curves(record: Record) -> Markup:
    """Show the loss and the monitored metric, and all others below a fold."""
    first = record.charted
    others = [name for name in record.curves if name not in first]
    others.sort(key=lambda name: (name in LATER, "/" in name))
    mark = record.summary.get("best_step")
    shown = [interactive(name, split_lines(record, name), mark=mark) for name in first]
    more = [interactive(name, split_lines(record, name), mark=mark) for name in others[:MOST]]
    if not shown:
        return element("p", "No metric has been recorded yet.")
    words = f"The dashed line is the step of the best state, {mark:,}. " if mark else ""
    about = element("p", words, HINT, class_="subtitle")
    folds = [folded(f"{len(more)} more curves", element("div", *more, class_="charts"))] if more else []
    return join(about, element("div", *shown, class_="charts"), *folds)


def interactive(title: str, found: Sequence[Line], *, mark: int | None = None) -> Markup:
    """Make a chart of these lines; without a script it is a picture with a legend."""
    log = title.partition("/")[0] == "loss" and wants_log(found)
    lines = [
        {
            "name": line.name,
            "colour": line.colour,
            "dash": line.dash,
            "x": line.steps.tolist(),
            "y": [float(f"{value:.6g}") for value in line.values],
        }
        for line in found
    ]
    switch = element("button", "log scale", class_="scale", type="button", hidden="", aria_pressed="false")
    return element(
        "figure",
        element("figcaption", element("span", title), switch),
        element("div", Markup(chart(found, f"{title} by step", log=log, mark=mark)), class_="plot"),
        element("div", *(_named(line) for line in found), class_="key"),
        element("p", class_="readout", aria_live="polite"),
        data({"title": f"{title} by step", "log": log, "mark": mark, "lines": lines}),
        class_="chart",
    )


def data(value: object) -> Markup:
    """Embed a value for the script: as JSON in which nothing can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(f'<script type="application/json">{text}</script>')


def _named(line: Line) -> Markup:
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    swatch = (
        '<svg class="swatch" width="22" height="8" aria-hidden="true">'
        f'<path d="M0 4H22" stroke="{line.colour}" stroke-width="3"{dash}/></svg>'
    )
    return element("span", Markup(swatch), line.name)

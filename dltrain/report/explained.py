"""What `dltrain explain` writes and prints: tables, arrays, figures, and a summary of what was done."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dltrain.inference.explain.explanation import Explanation
from dltrain.inference.explain.permutation import Importance
from dltrain.report.console import Screen, shown
from dltrain.report.explained_figures import figures, title_of
from dltrain.report.width import Column
from dltrain.runs.files import Files

LISTED = 12  # columns of a table that are printed
TOKENS = 6  # tokens of a text that are printed
BAR = 20  # characters of the longest bar
UNLIKELY = 0.1  # error of completeness from which more points of the path are hardly the remedy
WRITTEN = re.compile(r"(attributions|rows|tokens|importance|dependence|occlusion|filters|attention)(_\w+)?\.\w+")
"""The files that may be written, besides `explain.json`."""


def write_explanation(found: Explanation, files: Files, about: dict[str, Any], *, caption: str) -> list[str]:
    """Write tables, arrays, figures and `explain.json` into a folder, and return their names.

    Args:
        found: what was found.
        files: the folder.
        about: what else `explain.json` says: the run, the step, the options.
        caption: below the figures.
    """
    from dltrain.plots.caption import add_caption
    from dltrain.plots.png import png_bytes
    from dltrain.plots.style import default_style

    tables = {name: rows for name, rows in _tables(found).items() if len(rows) > 1}
    packed = io.BytesIO()
    arrays: dict[str, Any] = _arrays(found)
    np.savez_compressed(packed, **arrays)
    content: dict[str, bytes] = {name: _csv(rows) for name, rows in tables.items()}
    content["attributions.npz"] = packed.getvalue()
    with default_style():
        for name, figure in figures(found).items():
            below = caption.rpartition(", ")[2] if name == "filters" else caption  # which are those of any example
            content[f"{name}.png"] = png_bytes(add_caption(figure, below), dpi=110)
    for name in _earlier(files):
        files.remove_file(name)
    for name, data in content.items():
        files.replace(name, data)
    names = [*content, "explain.json"]
    files.replace_json("explain.json", {**about, **summary_of(found), "files": names})
    return names


def _earlier(files: Files) -> list[str]:
    """Return the files of an earlier explanation in this folder, which its `explain.json` lists."""
    try:
        listed = json.loads((files.path / "explain.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in listed if isinstance(name, str) and WRITTEN.fullmatch(name)]


def summary_of(found: Explanation) -> dict[str, Any]:
    """Return what was done and how well attributions sum up, in values that JSON holds."""
    complete, importance = found.attributions.completeness, found.importance
    about: dict[str, Any] = {
        "examples": {"from": found.examples.what, "names": list(found.examples.names)},
        "explained": {"what": found.attributions.what, "of_each_example": list(found.attributions.explained)},
        "methods": dict(found.attributions.methods),
    }
    if complete is not None:
        about["completeness"] = {
            "mean_error": float(complete.error.mean()),
            "largest_error": float(complete.error.max()),
            "error_is": "|sum of attributions - (f(x) - f(baseline))|, relative to |f(x) - f(baseline)|, or to a "
            "tenth of the sum of the absolute attributions where that is larger",
            "tolerance": found.tolerance,
            "missed_by": found.incomplete,
            "points_of_the_path": complete.steps.tolist(),
            "f_x": complete.output.tolist(),
            "f_baseline": complete.baseline.tolist(),
        }
    if importance is not None:
        about["importance"] = {
            "examples": importance.split,
            "rows": importance.rows,
            "repeats": importance.drops["loss"].shape[1],
            "scores": dict(importance.scores),
        }
    if found.occlusion:
        about["occlusion"] = {one.feature: f"{one.windows} examples" for one in found.occlusion}
    return about | ({"first_layer": found.filters.layer} if found.filters else {})


def show_explanation(found: Explanation, screen: Screen) -> None:
    """Print completeness, the most important columns, and the strongest tokens."""
    count, complete = len(found.examples), found.attributions.completeness
    plural = "example" if count == 1 else "examples"
    screen.say(f"explained     {found.attributions.what} of {count} {plural} ({found.examples.what})")
    for name, method in found.attributions.methods.items():
        screen.say(f"{name:<13} {method}")
    if complete is not None:
        points = (
            f"{complete.steps.min()} to {complete.steps.max()}" if np.ptp(complete.steps) else complete.steps[0]
        )
        screen.say(
            f"completeness  error {complete.error.mean():.2%} on average, at most {complete.error.max():.2%} "
            f"({points} points of the path)"
        )
    if found.importance is not None:
        _show_importance(found.importance, screen)
    for name, texts in found.texts.items():
        rows = [
            (found.examples.names[i], title_of(found, i, one_line=True), strongest(text))
            for i, text in enumerate(texts)
        ]
        columns = [Column("example", drop=1), Column("prediction", drop=2), Column("strongest tokens", wraps=True)]
        screen.table(f"\n{name}", columns, rows)
    for one in found.occlusion:
        mean = one.effect.mean((1, 2, 3))
        order = np.argsort(-mean, kind="stable")[:LISTED]
        rows = [(one.columns[k], shown(mean[k]), _bar(mean[k], mean.max())) for k in order]
        columns = [Column("column"), Column("change of the prediction", right=True), Column("", drop=1)]
        screen.table(f"\n{one.feature}: stretches of a column replaced by its mean", columns, rows)


def warnings_of(found: Explanation) -> list[str]:
    """Return what a user should know before trusting the attributions."""
    warned, complete = [f"warning: {note}" for note in found.examples.notes], found.attributions.completeness
    if found.incomplete and complete is not None:
        remedy = f"more points of the path help: steps={2 * found.steps}"
        if complete.error.max() > UNLIKELY:
            remedy += ", unless the model stops gradients, or its output jumps: then its gradients mean little"
        warned.append(
            f"warning: the attributions of {found.incomplete} of {len(complete.error)} examples miss the "
            f"difference in output by up to {complete.error.max():.1%} (tolerance={found.tolerance:g}); {remedy}"
        )
    replaced = [name for name, how in found.attributions.methods.items() if how.startswith("one at a time")]
    if replaced:
        warned.append(
            f"{', '.join(replaced)}: this model looks its tokens or levels up outside of an Embedding layer, so no "
            "gradient can be had; they were replaced one at a time, and these attributions need not sum to anything"
        )
    return warned


def strongest(text: Any, count: int = TOKENS) -> str:
    """Return the tokens with the largest attributions, such as `bad +1.5  not +0.38`."""
    order = np.argsort(-np.abs(text.values), kind="stable")[:count]
    return "  ".join(f"{text.tokens[k]} {text.values[k]:+.2g}" for k in order)


def _show_importance(found: Importance, screen: Screen) -> None:
    order, first = found.order(), found.mean()
    columns = [Column("column"), *(Column(_heading(n, up), right=True) for n, up in found.higher.items())]
    rows = []
    for k in order[:LISTED]:
        cells = [_plus_minus(found.mean(n)[k], found.half_width(n)[k]) for n in found.higher]
        rows.append((found.columns[k], *cells, _bar(first[k], first.max())))
    repeats = found.drops["loss"].shape[1]
    more = f"; {len(order) - LISTED} more columns are in importance.csv" if len(order) > LISTED else ""
    title = f"\n{found.rows:,} rows ({found.split}), each column permuted {repeats} times; ± 95 % interval{more}"
    screen.table(title, [*columns, Column("", drop=1)], rows)


def _heading(name: str, higher: bool) -> str:
    return f"{'fall' if higher else 'rise'} of {name}"


def _plus_minus(mean: float, half: float) -> str:
    return f"{mean:.4f}" + (f" ± {half:.4f}" if np.isfinite(half) else "")


def _bar(value: float, largest: float) -> str:
    share = 0 if not largest > 0 or not np.isfinite(value) else max(0.0, value) / largest
    return "█" * round(BAR * share)


def _tables(found: Explanation) -> dict[str, list[Sequence[Any]]]:
    """Return the tables, each with its header."""
    names = found.examples.names
    rows = [
        (names[i], column, found.values[i].get(column, ""), float(values[i]))
        for i in range(len(names))
        for column, values in found.columns.items()
    ]
    tokens = [
        (names[i], name, place, token, float(text.values[place]), bool(text.known[place]), _attended(text, place))
        for name, texts in found.texts.items()
        for i, text in enumerate(texts)
        for place, token in enumerate(text.tokens)
    ]
    dependence = [
        (one.column, one.part, value, output, float(curves[k].mean()), *np.quantile(curves[k], (0.1, 0.9)).tolist())
        for one in found.dependence
        for output, curves in one.curves.items()
        for k, value in enumerate(one.grid.tolist())
    ]
    occluded = [
        (one.feature, column, first, last - 1, step + 1, output, float(one.effect[i, k, step, j]))
        for one in found.occlusion
        for i, column in enumerate(one.columns)
        for k, (first, last) in enumerate(one.stretches)
        for step in range(one.effect.shape[2])
        for j, output in enumerate(one.outputs)
    ]
    return {
        "attributions.csv": [("example", "column", "value", "attribution"), *rows],
        "tokens.csv": [("example", "input", "place", "token", "attribution", "known", "attention"), *tokens],
        "importance.csv": list(_importance_rows(found.importance)) if found.importance else [],
        "dependence.csv": [("column", "part", "value", "output", "mean", "low_10", "high_90"), *dependence],
        "occlusion.csv": [
            ("input", "column", "first_step", "last_step", "predicted_step", "output", "mean_change"),
            *occluded,
        ],
    }


def _attended(text: Any, place: int) -> float | str:
    return float(text.attention[place]) if len(text.attention) else ""


def _importance_rows(found: Importance) -> Iterable[Sequence[Any]]:
    yield ("column", *(f"{n}_{part}" for n in found.higher for part in ("mean", "deviation", "low_95", "high_95")))
    for k in found.order():
        cells: list[float] = []
        for name in found.higher:
            mean, half = float(found.mean(name)[k]), float(found.half_width(name)[k])
            cells += [mean, float(found.deviation(name)[k]), mean - half, mean + half]
        yield (found.columns[k], *cells)


def _arrays(found: Explanation) -> dict[str, np.ndarray]:
    arrays = {f"attributions_{name}": values for name, values in found.attributions.values.items()}
    arrays |= {f"saliency_{name}": values for name, values in found.attributions.saliency.items()}
    if (complete := found.attributions.completeness) is not None:
        arrays |= {"output": complete.output, "baseline": complete.baseline, "error": complete.error}
    return arrays | ({} if found.attention is None else {"attention": found.attention})


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    return table.getvalue().encode("utf-8", "surrogatepass")

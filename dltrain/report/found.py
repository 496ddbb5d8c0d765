"""What `find-lr` and `find-batch` show and write: tables, curves as CSV and JSON, and figures."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltrain.build.parts import Parts
from dltrain.config.call import Composed
from dltrain.devices.memory import shown as bytes_shown
from dltrain.errors import ConfigError
from dltrain.report.console import Screen, shown
from dltrain.report.width import Column
from dltrain.runs.files import Files
from dltrain.runs.folder import RunFolder
from dltrain.tuning.batches import NEAR, BatchSizes
from dltrain.tuning.rates import RangeTest

RATES, SIZES = "learning_rates", "batch_sizes"  # names of the files


def folder_for(composed: Composed, command: str, output: str | None) -> Files:
    """Return the folder of the results: `output`, or COMMAND/NAME.

    Raises:
        ConfigError: it is a file, or in the folder of a run, to which nothing is added.
    """
    path = Path(output).expanduser() if output else Path(command, name_of(composed))
    if path.exists() and not path.is_dir():
        raise ConfigError(f"output={path}: is a file; name a folder")
    if run := next((p for p in (path.absolute(), *path.absolute().parents) if RunFolder(p).marked), None):
        raise ConfigError(f"output={path}: {run} is the folder of a run, which is not changed; name another folder")
    return Files(path)


def name_of(composed: Composed) -> str:
    """Return the name of what is tried: the config's, or data and model."""
    return composed.config["name"] or f"{composed.choices['data']}-{composed.choices['model']}"


def show_rates(found: RangeTest, screen: Screen) -> None:
    """Print the suggested learning rates."""
    for one in found.warnings():
        screen.say(f"warning: {one}", style="yellow", result=True)
    if found.suggestions:
        columns = [
            Column("rule"),
            Column("learning rate", right=True),
            Column("loss", right=True),
            Column("", drop=1),
        ]
        rows = [(one.rule, one.rounded, shown(one.loss), one.words) for one in found.suggestions]
        screen.table("suggestions", columns, rows)
    if found.diverged:
        screen.say(f"ended   after {found.count} of {len(found.rates)} steps: {found.diverged}", result=True)


def write_rates(found: RangeTest, composed: Composed, words: Sequence[str], files: Files) -> list[str]:
    """Write the curve and the suggestions, and draw them; return the names of the files."""
    from dltrain.plots.learning_rates import learning_rates

    suggestions = {one.rule: one.learning_rate for one in found.suggestions}
    about = {
        "overrides": list(words),
        "recommended": found.recommended and found.recommended.rule,
        "suggestions": suggestions,
        "diverged": found.diverged,
        "considered": found.count,
        "learning_rate": found.rates[: len(found.losses)].tolist(),
        "loss": found.losses.tolist(),
        "smoothed_loss": found.means.tolist(),
    }
    curve = zip(*(about[name] for name in ("learning_rate", "loss", "smoothed_loss")), strict=True)
    files.replace_json(f"{RATES}.json", about)
    files.replace_text(f"{RATES}.csv", _csv(("step", "learning_rate", "loss", "smoothed_loss"), curve))
    figure = learning_rates(
        found.rates,
        found.losses,
        found.means,
        count=found.count,
        suggestions=suggestions,
        recommended=found.recommended.rule if found.recommended else "",
        title=name_of(composed),
    )
    return [f"{RATES}.json", f"{RATES}.csv", *_drawn(files, RATES, figure)]


def show_sizes(found: BatchSizes, screen: Screen) -> None:
    """Print what was measured, and why there are no larger batches."""
    told = any(one.peak for one in found.found)
    columns = [Column("batch size", right=True), Column("steps/s", right=True), Column("examples/s", right=True)]
    columns += [Column("memory", right=True), *([Column("peak so far", right=True, drop=1)] if told else [])]
    rows = [
        (f"{one.batch_size:,}", _speed(one.steps), _speed(one.examples), bytes_shown(one.memory))
        + ((bytes_shown(one.peak or 0),) if told else ())
        for one in found.found
    ]
    if rows:
        screen.table("batch sizes", columns, rows)
    screen.say(f"ended   {found.reason}", result=True)


def epochs_note(parts: Parts, size: int) -> str:
    """Return how the number of steps of an epoch changes with the batch size; "" if it hardly does."""
    now, then = (replace(parts.pipeline, batch_size=n).steps_per_epoch for n in (parts.pipeline.batch_size, size))
    if 2 * then > now:
        return ""
    return (
        f"an epoch then has {then:,} steps instead of {now:,} (batch_size={parts.pipeline.batch_size}): "
        "training needs more epochs"
    )


def write_sizes(found: BatchSizes, composed: Composed, words: Sequence[str], files: Files) -> list[str]:
    """Write what was measured, and draw it; return the names of the files, none if there is nothing."""
    from dltrain.plots.batch_sizes import batch_sizes

    if not found.found:
        return []
    measured = [vars(one) for one in found.found]
    about = {
        "overrides": list(words),
        "recommended": found.recommended,
        "ended": found.reason,
        "measured": measured,
    }
    files.replace_json(f"{SIZES}.json", about)
    figure = batch_sizes(
        [one.batch_size for one in found.found],
        [one.examples for one in found.found],
        [one.memory for one in found.found],
        recommended=found.recommended,
        share=NEAR,
        title=name_of(composed),
    )
    return [f"{SIZES}.json", *_drawn(files, SIZES, figure)]


def _speed(each_second: float) -> str:
    return f"{each_second:,.0f}" if each_second >= 100 else f"{each_second:.3g}"


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows((number, *row) for number, row in enumerate(rows, 1))
    return text.getvalue()


def _drawn(files: Files, name: str, figure: Any) -> list[str]:
    from dltrain.plots.png import png_bytes
    from dltrain.plots.style import default_style

    with default_style():
        files.replace(f"{name}.png", png_bytes(figure))
    return [f"{name}.png"]

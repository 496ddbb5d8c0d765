"""What `dltrain crossval` and `dltrain seeds` print: each run, and every metric over all of them."""

from collections.abc import Sequence

from dltrain.report.console import Screen, shown
from dltrain.report.repeats.results import SPLITS, Repeated
from dltrain.report.width import Column
from dltrain.runs.repeat import CROSSVAL


def print_runs(screen: Screen, found: Repeated) -> None:
    """Print a table with a line for each run, and why runs are missing."""
    noun, metric = found.repeat.noun, found.metric
    splits = [split for split in SPLITS if metric in found.values.get(split, {})]
    columns = [Column(noun, right=True), Column("folder")]
    columns += [Column(f"{name} examples", right=True, drop=1) for name in ("train", "validation")]
    columns += [Column(f"{split}/{metric}", right=True) for split in splits]
    rows = []
    for number, job in found.jobs.items():
        counts = [f"{found.examples[number].get(name, 0):,}" for name in ("train", "validation")]
        values = [shown(found.values[split][metric].get(number)) for split in splits]
        rows.append([str(number), job.name, *counts, *values])
    whole = len(found.repeat.values)
    count = f"{len(rows)} of {whole}" if found.missing else str(whole)
    screen.say()
    if rows:
        screen.table(f"{count} {noun}s, each run at its best state", columns, rows)
    for reason in dict.fromkeys(found.missing.values()):
        numbers = [str(number) for number, why in found.missing.items() if why == reason]
        many = f"{noun}s {', '.join(numbers)} are" if len(numbers) > 1 else f"{noun} {numbers[0]} is"
        screen.say(f"{many} missing: {reason}", result=True)


def print_metrics(screen: Screen, found: Repeated) -> None:
    """Print a table of each split: every metric over the runs, and of all runs together."""
    for split in SPLITS:
        if found.values.get(split):
            screen.say()
            screen.table(_title(found, split), *_table(found, split))
    if explained := found.explanation():
        screen.say()
        screen.say(explained)


def _title(found: Repeated, split: str) -> str:
    counts = [of.get(split, 0) for of in found.examples.values()]
    if split == "validation" and found.repeat.command == CROSSVAL:
        return f"validation, {sum(counts):,} examples in {len(counts)} folds"
    return f"{split}, {max(counts, default=0):,} examples"


def _table(found: Repeated, split: str) -> tuple[list[Column], list[list[str]]]:
    pooled = split == "validation" and found.repeat.command == CROSSVAL
    together, calibrated = found.together(split), found.calibrated(split)
    names = [name for name in dict.fromkeys([*found.values[split], *together]) if "/" not in name]
    spreads = {name: found.spread(split, name) for name in names if found.values[split].get(name)}
    interval = any(one.interval for one in spreads.values())
    titles = ["mean ± std", *(["95 % interval"] if interval else []), "lowest", "highest"]
    titles += ["out-of-fold" if pooled else "ensemble"] if together else []
    titles += ["with temperature"] if calibrated else []
    rows = []
    for name in names:
        row = (
            [name, *_cells(found, split, name, interval=interval)] if name in spreads else [name, *_blank(interval)]
        )
        row += [_value(of.get(name)) for of in (together, calibrated) if of]
        rows.append(row)
    return [Column(split), *(Column(title, right=True) for title in titles)], rows


def _cells(found: Repeated, split: str, name: str, *, interval: bool) -> list[str]:
    of, values = found.spread(split, name), found.values[split][name]
    deviation = "" if of.deviation is None else f" ± {shown(of.deviation)}"
    partly = f" ({of.count} of {len(found.jobs)})" if of.count < len(found.jobs) else ""
    cells = [f"{shown(of.mean)}{deviation}{partly}"]
    cells += [f"{shown(of.interval[0])} to {shown(of.interval[1])}" if of.interval else ""] if interval else []
    noun = found.repeat.noun
    if min(values.values()) == max(values.values()):
        return [*cells, shown(of.mean), shown(of.mean)]
    for end in (min(values, key=values.__getitem__), max(values, key=values.__getitem__)):
        cells.append(f"{shown(values[end])} ({noun} {end})")
    return cells


def _value(value: float | None) -> str:
    return shown(value) if value is not None and value == value else "-"


def _blank(interval: bool) -> Sequence[str]:
    return [""] * (4 if interval else 3)

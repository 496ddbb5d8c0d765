"""What `dltrain ensemble` prints: the metrics of each run, of their mean, and of the ensemble."""

from collections.abc import Mapping, Sequence

from dltrain.inference.ensemble.make import OUT_OF_FOLD, Made, Measured
from dltrain.report.console import Screen, shown
from dltrain.report.groups import names_of
from dltrain.report.seeds import spread
from dltrain.report.width import Column


def print_made(screen: Screen, made: Made) -> None:
    """Print a table for each split, what calibration changed, and the files."""
    labels = names_of([run.path.resolve() for run in made.ensemble.runs])
    for found in made.measured:
        _print_table(screen, found, labels)
        screen.say()
    if made.calibration:
        fitted = made.calibration
        screen.say(
            f"temperature {fitted.temperature:.3f}, fitted on {fitted.examples:,} {fitted.of} examples: log loss "
            f"{shown(fitted.log_loss[0])} -> {shown(fitted.log_loss[1])}, calibration error "
            f"{shown(fitted.ece[0])} -> {shown(fitted.ece[1])}; the predicted classes stay",
            result=True,
        )
    count, among = len(labels), made.chosen.among
    if among > count:
        by = f"the best {count} of {among} runs by {made.chosen.monitor}"
        screen.say(f"note    these are {by}: judge the ensemble by other examples")
    for path in made.files:
        screen.say(f"written {path}", result=True, whole=True)
    word = made.ensemble.folder.word
    screen.say(f"next    dltrain predict {word} input=FILE, dltrain evaluate {word}", whole=True)


def _print_table(screen: Screen, found: Measured, labels: Sequence[str]) -> None:
    names = [name for name in found.ensemble if "/" not in name]
    columns = [Column("model", wraps=True), *(Column(name, right=True) for name in names)]
    rows = [[label, *_cells(names, of)] for label, of in zip(labels, found.members, strict=False)]
    if len(found.members) > 1:
        rows.append(["mean ± std of the runs", *(_spread([of[name] for of in found.members]) for name in names)])
    folds = found.split == OUT_OF_FOLD
    rows.append(["each by the model of its fold" if folds else "ensemble", *_cells(names, found.ensemble)])
    if found.calibrated:
        rows.append(["with the temperature", *_cells(names, found.calibrated)])
    screen.table(f"{found.split}, {found.examples:,} examples", columns, rows)


def _cells(names: Sequence[str], metrics: Mapping[str, float]) -> list[str]:
    return [_value(metrics[name]) for name in names]


def _spread(values: Sequence[float]) -> str:
    if any(value != value for value in values):
        return "-"
    found = spread(values)
    deviation = 0.0 if min(values) == max(values) else found.deviation  # not what rounding of the mean leaves
    return f"{shown(found.mean)} ± {shown(deviation)}"


def _value(value: float) -> str:
    return shown(value) if value == value else "-"

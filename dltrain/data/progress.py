"""Progress of long work on data: a bar on a terminal; elsewhere a line at the start and one every ten seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Generator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PAUSE = 10.0  # seconds between progress lines if stderr is not a terminal


@contextlib.contextmanager
def progress(what: str, total: int, *, done: int = 0, unit: str) -> Generator[Callable[[int], None], None, None]:
    """Show how much of `total` is done, on stderr; yields a function that is called with each further count.

    Args:
        what: the work, such as `decoding photos`.
        total: number of units of all work.
        done: number of units that an interrupted run has done before.
        unit: name of the units, in the plural.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(what, total=total, completed=done)
            yield lambda count: bar.advance(task, count)
        return
    now, shown = done, time.monotonic()
    _say(f"{what} ({total:,} {unit}{f', resumed at {done:,}' if done else ''})")

    def advance(count: int) -> None:
        nonlocal now, shown
        now += count
        if time.monotonic() - shown > PAUSE:
            shown = time.monotonic()
            _say(f"  {now:,} of {total:,} {unit}")

    yield advance


def _say(text: str) -> None:
    print(f"dltrain: {text}", file=sys.stderr, flush=True)

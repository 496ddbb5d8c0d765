"""What a run prints: lines, one line of progress that is replaced on a terminal, only results when quiet."""

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dltrain.engine.events import After, TrainEvent
from dltrain.report.width import Column, shortened, table, wrapped
from dltrain.runs.means import mean_of_chunk
from dltrain.runs.recorder import Recorder

WAITING = 0.05  # share of the time spent waiting for data above which it is shown
SHORTENED = (5, 6, 4, 0, 2, 3, 6, 3, 2)  # parts of the live line, in the order in which a narrow terminal cuts them
PROGRESS_EVERY = 10.0  # seconds between lines of progress without a terminal


class Screen:
    """Prints on stdout; rich honours NO_COLOR and detects whether that is a terminal."""

    def __init__(self, *, quiet: bool = False, silent: bool = False) -> None:
        """Print everything, with `quiet` only results, with `silent` nothing."""
        self.console = Console(quiet=quiet or silent, highlight=False, soft_wrap=True)
        self._result = Console(quiet=silent, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        for console in (self.console, self._result):
            if console.width < 1:  # COLUMNS=0: rich would print nothing
                console.width = 80

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None for a file or a pipe, where lines may have any length."""
        return max(1, self.console.width) if self.console.is_terminal else None

    def say(self, text: str = "", *, style: str | None = None, result: bool = False, whole: bool = False) -> None:
        """Print a line above the live one; a `result` is printed even when quiet.

        On a terminal, a line that is too long is broken between words, unless it must stay `whole`, such as a
        command to copy.
        """
        console = self._result if result else self.console
        if console.quiet:
            return
        width = None if whole else self.width
        lines = [line for part in text.split("\n") for line in wrapped(part, width)]
        console.print(Text("\n".join(lines), style=style or ""))

    def table(
        self, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, total: bool = False
    ) -> None:
        """Print a table that fits the terminal; with `total`, the last row is a sum."""
        header, *lines = table(columns, rows, self.width)
        self.say(title, style="bold")
        self.say(header, style="bold")
        for number, line in enumerate(lines, 1):
            self.say(line, style="bold" if total and number == len(lines) else None)

    def doing(self, text: str) -> None:
        """Show what takes a while: as the live line of a terminal, elsewhere as a line."""
        if self.console.is_terminal:
            self.live(text)
        else:
            self.say(text)

    def live(self, text: str) -> None:
        """Replace the live line; does nothing without a terminal."""
        if not self.console.is_terminal or self.console.quiet:
            return
        if self._live is None:
            self._live = Live(console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        line = Text(text, no_wrap=True, overflow="ellipsis")
        self._live.update(line)

    def end_live(self) -> None:
        """Remove the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def print_warning(text: str) -> None:
    """Print a warning on stderr, whether quiet or not."""
    print(f"dltrain: {text}", file=sys.stderr, flush=True)


class Progress:
    """A callback that shows step, time left, training loss, monitored metric, examples per second and epoch."""

    def __init__(self, screen: Screen, recorder: Recorder, *, metric: str | None, start: int) -> None:
        """Show the last value of `metric` next to the loss; `start` steps were done before."""
        self.screen, self.recorder, self.metric = screen, recorder, metric
        self._began, self._start, self._printed = time.monotonic(), start, time.monotonic()

    def __call__(self, event: TrainEvent) -> After:
        """Print evaluations now, and progress once the logs of the chunk are available."""
        if event.results:
            self._print_metrics(event, "train", self.recorder.trained)
        for split, found in event.results.items():
            self._print_metrics(event, "train_evaluated" if split == "train" else split, found.scalars)
        return After(lambda: self._show_progress(event))

    def _print_metrics(self, event: TrainEvent, split: str, scalars: Mapping[str, float]) -> None:
        metrics = "  ".join(f"{n} {shown(v)}" for n, v in scalars.items() if "/" not in n)
        self.screen.say(f"epoch {event.epoch:6.4g}  step {event.step:>7}  {split:<10}  {metrics}")
        self._printed = time.monotonic()

    def _show_progress(self, event: TrainEvent) -> None:
        now, done = time.monotonic(), event.step - self._start
        left = (now - self._began) / max(done, 1) * (event.total - event.step)
        loss = shown(mean_of_chunk(event.logs)["loss"])
        waits, share = self.recorder.waiting > WAITING, f"{self.recorder.waiting:.0%}"
        parts = [
            (f"step {event.step}/{event.total}", f"{event.step}/{event.total}"),
            (f"{clock(left)} left",),
            (f"train loss {loss}", f"train {loss}", ""),
            self._last_metric(),
            (f"{self.recorder.speed:,.0f} examples/s", ""),
            (f"epoch {event.epoch:.2f}", ""),
            (f"{share} of the time waiting for data", f"{share} waiting", "") if waits else ("", "", ""),
        ]
        self.screen.live(shortened(parts, SHORTENED, self.screen.width))
        if not self.screen.console.is_terminal and now - self._printed >= PROGRESS_EVERY:
            self.screen.say(shortened(parts, SHORTENED, None))
            self._printed = now

    def _last_metric(self) -> tuple[str, ...]:
        """Return the monitored metric of the last evaluation, in words from long to short."""
        evaluations = self.recorder.history.get("validation") or []
        if not evaluations or self.metric not in evaluations[-1]:
            return ("", "", "")
        value = shown(evaluations[-1][self.metric])
        return (f"validation {self.metric} {value}", f"validation {value}", "")


def shown(value: float | None) -> str:
    """Format a metric with four decimals, or four digits where it is very small or large."""
    if value is None:
        return "undefined"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Format a time: 9s, 1:05, 2:03:04."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}" if minutes else f"{whole}s"

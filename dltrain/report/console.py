"""What a run prints: lines, one line of progress that is replaced on a terminal, only results when quiet."""

import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dltrain.engine.events import After, TrainEvent
from dltrain.runs.recorder import Recorder

WAITING = 0.05  # share of the time spent waiting for data above which it is shown
PROGRESS_EVERY = 10.0  # seconds between lines of progress without a terminal


class Screen:
    """Prints on stdout; rich honours NO_COLOR and detects whether that is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Print everything, or with `quiet` only results."""
        self.console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._result = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None

    def say(self, text: str = "", *, style: str | None = None, result: bool = False) -> None:
        """Print a line above the live one; a `result` is printed even when quiet."""
        (self._result if result else self.console).print(Text(text, style=style or ""))

    def print(self, renderable: object) -> None:
        """Print a table or anything else that rich renders."""
        self.console.print(renderable)

    def live(self, text: str) -> None:
        """Replace the live line; does nothing without a terminal."""
        if not self.console.is_terminal:
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
    """A callback that shows step, epoch, loss, monitored metric, examples per second and time left."""

    def __init__(self, screen: Screen, recorder: Recorder, *, metric: str | None, start: int) -> None:
        """Show the last value of `metric` next to the loss; `start` steps were done before."""
        self.screen, self.recorder, self.metric = screen, recorder, metric
        self._began, self._start, self._printed = time.monotonic(), start, time.monotonic()

    def __call__(self, event: TrainEvent) -> After:
        """Print evaluations now, and progress once the logs of the chunk are available."""
        for split, found in event.results.items():
            metrics = "  ".join(f"{n} {shown(v)}" for n, v in found.scalars.items() if "/" not in n)
            self.screen.say(f"epoch {event.epoch:6.4g}  step {event.step:>7}  {split:<10}  {metrics}")
            self._printed = time.monotonic()
        return After(lambda: self._show_progress(event))

    def _show_progress(self, event: TrainEvent) -> None:
        now, done = time.monotonic(), event.step - self._start
        left = (now - self._began) / max(done, 1) * (event.total - event.step)
        last = {name: float(value[-1]) for name, value in event.logs.values.items()}
        metric = self._last_metric()
        line = (
            f"step {event.step}/{event.total}  epoch {event.epoch:.2f}  loss {shown(last['loss'])}{metric}"
            f"  {self.recorder.speed:,.0f} examples/s  {clock(left)} left"
        )
        if self.recorder.waiting > WAITING:
            line += f"  {self.recorder.waiting:.0%} of the time waiting for data"
        self.screen.live(line)
        if not self.screen.console.is_terminal and now - self._printed >= PROGRESS_EVERY:
            self.screen.say(line)
            self._printed = now

    def _last_metric(self) -> str:
        evaluations = self.recorder.history.get("validation") or []
        if not evaluations or self.metric not in evaluations[-1]:
            return ""
        return f"  {self.metric} {shown(evaluations[-1][self.metric])}"


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

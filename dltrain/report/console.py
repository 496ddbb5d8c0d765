"""What a person sees while a run works: lines, one live line on a terminal, only the result when quiet."""

import sys
import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dltrain.engine.events import After, TrainEvent
from dltrain.runs.recorder import Recorder

WAITING = 0.05  # share of the time from which on waiting for data is said
SIGN_OF_LIFE = 10.0  # seconds between lines where there is no terminal


class Screen:
    """Writes to the terminal; rich honours NO_COLOR and knows whether there is a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Start without a live line."""
        self.console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._result = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None

    def say(self, text: str = "", *, style: str | None = None, result: bool = False) -> None:
        """Write a line above the live one; a `result` is written when quiet, too."""
        (self._result if result else self.console).print(Text(text, style=style or ""))

    def draw(self, drawing: object) -> None:
        """Write something of rich's (a table)."""
        self.console.print(drawing)

    def live(self, text: str) -> None:
        """Replace the live line; without a terminal nothing is shown."""
        if not self.console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        line = Text(text, no_wrap=True, overflow="ellipsis")
        self._live.update(line)

    def end_live(self) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def complain(text: str) -> None:
    """Write a warning on stderr, whether quiet or not."""
    print(f"dltrain: {text}", file=sys.stderr, flush=True)


class Progress:
    """A callback: step, epoch, loss, metric, examples a second and time left."""

    def __init__(self, screen: Screen, recorder: Recorder, *, metric: str | None, start: int) -> None:
        """Show the metric of that name beside the loss."""
        self.screen, self.recorder, self.metric = screen, recorder, metric
        self._began, self._start, self._spoke = time.monotonic(), start, time.monotonic()

    def __call__(self, event: TrainEvent) -> After:
        """Tell about evaluations at once, about the chunk when its numbers are there."""
        for split, found in event.results.items():
            numbers = "  ".join(f"{n} {shown(v)}" for n, v in found.scalars.items() if "/" not in n)
            self.screen.say(f"epoch {event.epoch:6.4g}  step {event.step:>7}  {split:<10}  {numbers}")
            self._spoke = time.monotonic()
        return After(lambda: self._chunk(event))

    def _chunk(self, event: TrainEvent) -> None:
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
        if not self.screen.console.is_terminal and now - self._spoke >= SIGN_OF_LIFE:
            self.screen.say(line)
            self._spoke = now

    def _last_metric(self) -> str:
        rows = self.recorder.history.get("validation") or []
        known = rows and self.metric in rows[-1]
        return f"  {self.metric} {shown(rows[-1][self.metric])}" if known else ""


def shown(value: float | None) -> str:
    """Write a number so that it can be read."""
    if value is None:
        return "undefined"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Write a time as a person reads it: 9s, 1:05, 2:03:04."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}" if minutes else f"{whole}s"

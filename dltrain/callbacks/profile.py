"""Records some chunks of training with the profiler; `trace` reads the recording."""

from dataclasses import dataclass
from pathlib import Path

import jax

from dltrain.engine.events import TrainEvent
from dltrain.engine.loop import Pace

CHUNKS = 3  # recorded chunks, after the first one, which compiles
MOST_STEPS = 256  # per chunk while recording: each step adds 100 events or more to the trace
TARGET = 0.5  # seconds per chunk while recording


@dataclass(frozen=True)
class Recorded:
    """A recording: the trace file, and the first and last recorded step (counted from 1)."""

    file: Path
    first: int
    last: int


class Profile:
    """A callback that records a few chunks after the first, which compiles.

    It is the first callback, so that it sees every chunk. Until it is done, chunks are shorter, so that a short run
    has enough of them; the trained parameters are bit-identical.
    """

    def __init__(self, folder: Path, pace: Pace, *, steps: int) -> None:
        """Record into `folder`/plugins/profile; `steps` is the number of steps left to train."""
        self.recorded: Recorded | None = None
        self.problem = ""  # the reason if nothing was recorded
        self._folder, self._pace, self._before = folder, pace, (pace.most, pace.target)
        pace.most, pace.target = max(1, min(pace.most, MOST_STEPS, steps // (CHUNKS + 1))), TARGET
        pace.steps = min(pace.steps, pace.most)
        self._first = self._last = self._seen = 0
        self._running = False

    def __call__(self, event: TrainEvent) -> None:
        """Start after the first chunk, and stop `CHUNKS` chunks later or at the end of the run."""
        self._seen += 1
        self._last = event.step
        if self._seen == 1:
            if event.is_last:
                self.problem = "the run has a single step, and the first one compiles"
                return
            self._start(event)
        elif self._running and (self._seen > CHUNKS or event.is_last):
            jax.block_until_ready(event.state)
            self.close()

    def _start(self, event: TrainEvent) -> None:
        jax.block_until_ready(event.state)  # record whole chunks only
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # it slows the host several times, and shows nothing of the device
        try:
            jax.profiler.start_trace(self._folder, profiler_options=options)
        except RuntimeError as error:  # a profiler is already running in this process
            self.problem = str(error)
            return
        self._first, self._running = event.step + 1, True

    def close(self) -> None:
        """Stop a running recording and restore the chunk length."""
        self._pace.most, self._pace.target = self._before
        if not self._running:
            return
        self._running = False
        try:
            jax.profiler.stop_trace()
        except (RuntimeError, OSError) as error:
            self.problem = f"the trace could not be written: {error}"
            return
        files = sorted(self._folder.glob("plugins/profile/*/*.xplane.pb"))
        if files and self._last >= self._first:
            self.recorded = Recorded(files[-1], self._first, self._last)
        else:
            self.problem = "the run ended before a chunk was recorded"

"""Records some chunks of training for the profiler; `trace` reads what was recorded."""

from dataclasses import dataclass
from pathlib import Path

import jax

from dltrain.engine.events import TrainEvent
from dltrain.engine.loop import Pace

CHUNKS = 3  # that are recorded, after one that compiles
MOST_STEPS = 256  # of a chunk meanwhile: each step leaves a hundred events and more in the trace
TARGET = 0.5  # seconds of a chunk meanwhile


@dataclass(frozen=True)
class Recorded:
    """What was recorded: the trace's file, the first step (counted from 1) and the last."""

    file: Path
    first: int
    last: int


class Profile:
    """A callback that records a few chunks, from the end of the first, which compiles.

    It stands first among the callbacks, so that it sees every chunk. Until it is done chunks are cut short, so that
    a short run has enough of them; this changes no bit of what is trained.
    """

    def __init__(self, folder: Path, pace: Pace, *, steps: int) -> None:
        """Record into `folder`/plugins/profile; `steps` are still to be trained."""
        self.recorded: Recorded | None = None
        self.problem = ""  # why nothing was recorded
        self._folder, self._pace, self._before = folder, pace, (pace.most, pace.target)
        pace.most, pace.target = max(1, min(pace.most, MOST_STEPS, steps // (CHUNKS + 1))), TARGET
        pace.steps = min(pace.steps, pace.most)
        self._first = self._last = self._seen = 0
        self._running = False

    def __call__(self, event: TrainEvent) -> None:
        """Begin after the first chunk, and end some chunks later or with the run."""
        self._seen += 1
        self._last = event.step
        if self._seen == 1:
            if event.is_last:
                self.problem = "the run is a single step, and that one compiles"
                return
            self._begin(event)
        elif self._running and (self._seen > CHUNKS or event.is_last):
            jax.block_until_ready(event.state)
            self.close()

    def _begin(self, event: TrainEvent) -> None:
        jax.block_until_ready(event.state)  # what is recorded are whole chunks
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # it would slow the host to a fraction, and show nothing of the device
        try:
            jax.profiler.start_trace(self._folder, profiler_options=options)
        except RuntimeError as error:  # somebody else in this process is recording
            self.problem = str(error)
            return
        self._first, self._running = event.step + 1, True

    def close(self) -> None:
        """End the recording, if it is under way, and let chunks grow again."""
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

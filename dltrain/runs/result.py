"""The result of training."""

import signal
from dataclasses import dataclass

from dltrain.callbacks.profile import Profile
from dltrain.engine.loop import Outcome
from dltrain.errors import Interrupted, Terminated
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder
from dltrain.runs.saver import Saver


@dataclass
class TrainResult:
    """How training ended, and the parts that recorded it; the caller closes the recorder."""

    outcome: Outcome
    saver: Saver
    recorder: Recorder
    interrupted: signal.Signals | None
    first_step: int  # of the last segment
    skipped: list[int]  # steps with a non-finite loss or gradient, which changed nothing
    left_out: list[int]  # steps that a rollback left out
    profile: Profile | None = None  # with `profile=true`

    @property
    def best_step(self) -> int | None:
        """Step of the best state, if a metric is monitored."""
        return self.saver.best_step

    def raise_if_interrupted(self, folder: RunFolder) -> None:
        """Raise Interrupted or Terminated after SIGINT or SIGTERM, with the command that continues the run."""
        if self.interrupted:
            kind = Interrupted if self.interrupted is signal.SIGINT else Terminated
            step = self.outcome.step
            raise kind(f"{self.outcome.reason}: saved at step {step}; continue with: {folder.command('resume')}")

"""What a user sees while a run trains: progress, samples in TensorBoard, and why a step was not finite."""

from collections.abc import Callable, Sequence

from dltrain.build.program import Program
from dltrain.engine.events import Callback, Every
from dltrain.engine.state import TrainState
from dltrain.inference.abilities import draws_samples, generates_text
from dltrain.report.console import Progress, Screen, print_warning
from dltrain.report.nonfinite import explain
from dltrain.report.sampling import Sampling
from dltrain.report.text import TextSample
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder
from dltrain.types import Kind


class LiveReport:
    """Shows a run on the screen and in TensorBoard; the observer that `dltrain.trainer.train` expects."""

    def __init__(
        self,
        program: Program,
        folder: RunFolder,
        screen: Screen,
        *,
        describe: Callable[[Recorder], None] | None = None,
        watchers: Sequence[Callback] = (),
    ) -> None:
        """Show on `screen`.

        Args:
            program: what is trained.
            folder: of the run.
            screen: where it is shown.
            describe: writes what is known before the first step, in a new run.
            watchers: are called after what shows the run.
        """
        self.program, self.folder, self.screen, self._describe = program, folder, screen, describe
        self._watchers = watchers

    def begin(self, recorder: Recorder) -> None:
        """Describe a new run."""
        if self._describe:
            self._describe(recorder)

    def callbacks(self, recorder: Recorder, first: int) -> list[Callback]:
        """Return what shows progress, and what the model generates, as TensorBoard images or text."""
        program, plan = self.program, self.program.plan
        per_epoch = program.parts.pipeline.steps_per_epoch
        metric = plan.monitor.name if plan.monitor else None
        samples: list[Callback] = []
        if (
            draws_samples(program.module) and program.parts.spec.input.kind is Kind.IMAGE
        ):  # histograms take 0.4 s to draw
            samples.append(Sampling(program, recorder))
        if generates_text(program.parts.spec, program.module):
            samples.append(TextSample(program, recorder))
        return [
            *([] if self.screen.console.quiet else [Progress(self.screen, recorder, metric=metric, start=first)]),
            *(Every(plan.eval_every, sample, per_epoch=per_epoch) for sample in samples),
            *self._watchers,
        ]

    def note(self, text: str) -> None:
        """Show a message in colour."""
        self.screen.say(text, style="yellow")

    def warn(self, text: str) -> None:
        """Write a warning on stderr."""
        print_warning(text)

    def end_live(self) -> None:
        """Remove the progress line."""
        self.screen.end_live()

    def explain(self, state: TrainState | None, step: int) -> str:
        """Save the batch of a step that was not finite, and find where in the model it began."""
        return explain(self.program, self.folder, state, step)

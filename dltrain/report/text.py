"""What a language model generates while it is trained."""

from dltrain.build.program import Program
from dltrain.engine.events import TrainEvent
from dltrain.inference.open import bundle_of
from dltrain.runs.recorder import Recorder

LENGTH = 300  # tokens of a sample


class TextSample:
    """A callback: shows in TensorBoard what the model generates now."""

    def __init__(self, program: Program, recorder: Recorder) -> None:
        """Prepare; it is compiled when it is called first."""
        self._program, self._recorder = program, recorder

    def __call__(self, event: TrainEvent) -> None:
        """Generate a sample, the same draws each time."""
        bundle = bundle_of(self._program, event.state)
        (text,) = bundle.generate(tokens=LENGTH, seed=self._program.plan.seed)
        self._recorder.writer().text(event.step, "sample", as_markdown(text))


def as_markdown(text: str) -> str:
    """Return a text that is shown as it is, line by line."""
    return "\n".join(f"    {line}" for line in text.splitlines())

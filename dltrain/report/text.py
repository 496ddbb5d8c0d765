"""Generated text of a language model during training."""

from dltrain.build.program import Program
from dltrain.engine.events import TrainEvent
from dltrain.inference.open import bundle_of
from dltrain.runs.recorder import Recorder

LENGTH = 300  # tokens per sample


class TextSample:
    """Callback that shows generated text in TensorBoard."""

    def __init__(self, program: Program, recorder: Recorder) -> None:
        """Prepare; compilation happens at the first call."""
        self._program, self._recorder = program, recorder

    def __call__(self, event: TrainEvent) -> None:
        """Generate a sample, with the same random numbers each time."""
        bundle = bundle_of(self._program, event.state)
        (text,) = bundle.generate(tokens=LENGTH, seed=self._program.plan.seed)
        self._recorder.writer().text(event.step, "sample", as_markdown(text))


def as_markdown(text: str) -> str:
    """Return a text as Markdown that shows it unchanged, line by line."""
    return "\n".join(f"    {line}" for line in text.splitlines())

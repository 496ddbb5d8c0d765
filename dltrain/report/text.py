"""What a language model writes: on from a prompt, and as a sample while it is trained."""

from collections.abc import Sequence

import jax
import numpy as np

from dltrain.build.program import Program
from dltrain.engine.events import TrainEvent
from dltrain.engine.state import TrainState
from dltrain.errors import ConfigError
from dltrain.inference.generate import make_writer
from dltrain.runs.recorder import Recorder

LENGTH = 300  # tokens of a sample
TEMPERATURE = 0.8


def numbers_of(prompt: str | None, vocabulary: Sequence[str]) -> np.ndarray:
    """Return the tokens of a prompt, int32 [P]; None stands for the end of the line before.

    Raises:
        ConfigError: a character is not in the vocabulary.
    """
    if prompt is None:
        return np.array([vocabulary.index("\n") if "\n" in vocabulary else 0], np.int32)
    number = {token: i for i, token in enumerate(vocabulary)}
    if unknown := [character for character in dict.fromkeys(prompt) if character not in number]:
        known = "".join(vocabulary)
        raise ConfigError(
            f"prompt: {', '.join(map(repr, unknown))} was not in the text that the model read; it knows {known!r}"
        )
    return np.array([number[character] for character in prompt], np.int32)


def written_on(
    program: Program,
    state: TrainState,
    prompt: str | None = None,
    *,
    tokens: int = LENGTH,
    temperature: float = TEMPERATURE,
    top_k: int | None = None,
    seed: int = 0,
    count: int = 1,
) -> list[str]:
    """Write `count` texts on from a prompt, which they begin with; 0 as temperature takes the likeliest tokens."""
    words = program.parts.spec.vocabulary
    prompts = np.tile(numbers_of(prompt, words), (count, 1))
    drawn = {"key": jax.random.key(seed), "temperature": temperature} if temperature else {}
    found = make_writer(program, length=tokens, top_k=top_k)(state, prompts, **drawn)
    return [(prompt or "") + "".join(words[i] for i in text) for text in found]


class TextSample:
    """A callback: shows in TensorBoard what the model writes now."""

    def __init__(self, program: Program, recorder: Recorder) -> None:
        """Prepare; it is compiled when it is called first."""
        self._recorder, self._words = recorder, program.parts.spec.vocabulary
        self._write, self._seed = make_writer(program, length=LENGTH), program.plan.seed

    def __call__(self, event: TrainEvent) -> None:
        """Write a sample, the same draws each time."""
        prompts = numbers_of(None, self._words)[None]
        options = {"key": jax.random.key(self._seed), "temperature": TEMPERATURE}
        text = "".join(self._words[i] for i in self._write(event.state, prompts, **options)[0])
        self._recorder.writer().text(event.step, "sample", as_markdown(text))


def as_markdown(text: str) -> str:
    """Return a text that is shown as it is, line by line."""
    return "\n".join(f"    {line}" for line in text.splitlines())

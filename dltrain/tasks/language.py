"""Predict the next token at each position of a text."""

from typing import Any

from dltrain.tasks.task import Generates, Level, Task
from dltrain.types import Array, Kind, Spec


class Language(Task):
    """Targets int [B, L], the token after each position; outputs are logits [B, L, V]."""

    target_kind = Kind.TOKENS
    level = Level.STEP
    generates = Generates.CONTINUATION
    examples_may_repeat = True  # equal windows occur in ordinary texts
    decision = "tokens"

    def outputs(self, spec: Spec) -> int:
        """Return V, a logit for each token of the vocabulary."""
        return len(spec.target.vocabulary)

    def decide(self, outputs: Any, spec: Spec) -> dict[str, Array]:
        """Return the most likely next `tokens`, int [B, L]."""
        del spec
        return {"tokens": outputs.argmax(-1)}

    def classes(self, spec: Spec) -> int:
        """Return V: each token is a class."""
        return len(spec.target.vocabulary)

"""Generate a sequence of tokens for each example, such as its caption or translation."""

from collections.abc import Mapping

from dltrain.tasks.language import Language
from dltrain.tasks.task import Drawing, Generates
from dltrain.types import Kind, Spec


class Generation(Language):
    """Targets and outputs as in language modelling, given inputs; metrics evaluate what the model generates."""

    generates = Generates.ANSWER
    needs = ("begin", "decode")
    examples_may_repeat = False

    def figures(self, spec: Spec) -> Mapping[str, Drawing]:
        """Draw images with their generated captions."""
        return {"samples": "captions"} if spec.input.kind is Kind.IMAGE else {}

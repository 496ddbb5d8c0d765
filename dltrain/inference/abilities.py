"""What a model can do besides returning outputs: it follows from its task and its methods."""

from typing import Any

from dltrain.types import Spec, Task


def generates_text(spec: Spec, module: Any) -> bool:
    """Whether the model continues a text token by token."""
    return spec.task is Task.LANGUAGE and hasattr(module, "decode")


def generates_from_inputs(spec: Spec, module: Any) -> bool:
    """Whether the model generates a sequence from the inputs of an example."""
    return spec.task is Task.GENERATION and hasattr(module, "begin")


def draws_samples(module: Any) -> bool:
    """Whether the model draws examples from noise."""
    return hasattr(module, "sample")


def attends(module: Any) -> bool:
    """Whether the model tells where it attends."""
    return hasattr(module, "attention")

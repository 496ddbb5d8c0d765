"""Capabilities of a model besides returning outputs; they follow from its task and methods."""

from typing import Any

from dltrain.tasks import Generates
from dltrain.types import Spec


def generates_text(spec: Spec, module: Any) -> bool:
    """Tell whether the model continues a text token by token."""
    return spec.task.generates is Generates.CONTINUATION and hasattr(module, "decode")


def generates_from_inputs(spec: Spec, module: Any) -> bool:
    """Tell whether the model generates a sequence from the inputs of an example."""
    return spec.task.generates is Generates.ANSWER and hasattr(module, "begin")


def draws_samples(module: Any) -> bool:
    """Tell whether the model generates examples from noise."""
    return hasattr(module, "sample")


def attends(module: Any) -> bool:
    """Tell whether the model returns attention weights."""
    return hasattr(module, "attention")

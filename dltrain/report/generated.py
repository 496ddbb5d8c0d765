"""Sequences that a model generates from examples of its data, next to the true ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.vocabulary import as_text
from dltrain.inference.bundle import Bundle
from dltrain.types import Kind, content


@dataclass(frozen=True)
class Generated:
    """An example and what was generated for it.

    Attributes:
        example: its index.
        source: its source text, "" for an image.
        truth: the true text.
        text: the generated text.
        right: whether the two are equal.
    """

    example: int
    source: str
    truth: str
    text: str
    right: bool


def generate_for(
    bundle: Bundle, read: Mapping[str, Any], examples: np.ndarray, **options: Any
) -> Iterator[Generated]:
    """Generate a sequence for each of these examples, int [N]; options as in `engine.decode.generate`."""
    spec = bundle.raw_spec
    inputs = content(read, spec)
    found = bundle.decode(read["inputs"], **options)
    for i, example in enumerate(examples):
        source = as_text(inputs[i], spec.input.vocabulary) if spec.input.kind is Kind.TOKENS else ""
        right = not ((found[i] != read["targets"][i]) & read["loss_mask"][i]).any()
        truth, text = (as_text(tokens, spec.target.vocabulary) for tokens in (read["targets"][i], found[i]))
        yield Generated(int(example), source, truth, text, right)

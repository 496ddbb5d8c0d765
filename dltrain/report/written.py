"""Sequences that a model generates from examples of its data, with the true ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.vocabulary import as_text
from dltrain.inference.bundle import Bundle
from dltrain.types import Kind, content


@dataclass(frozen=True)
class Written:
    """An example: its number, its source text ("" for an image), the true and the generated text."""

    row: int
    source: str
    truth: str
    text: str
    right: bool


def written_about(bundle: Bundle, read: Mapping[str, Any], rows: np.ndarray, **options: Any) -> Iterator[Written]:
    """Generate a sequence for each of these examples, int [N]; options as in `engine.decode.generate`."""
    spec = bundle.raw_spec
    inputs = content(read, spec)
    found = bundle.decode(read["inputs"], **options)
    for i, row in enumerate(rows):
        source = as_text(inputs[i], spec.input.vocabulary) if spec.input.kind is Kind.TOKENS else ""
        right = not ((found[i] != read["targets"][i]) & read["loss_mask"][i]).any()
        truth, text = (as_text(tokens, spec.target.vocabulary) for tokens in (read["targets"][i], found[i]))
        yield Written(int(row), source, truth, text, right)

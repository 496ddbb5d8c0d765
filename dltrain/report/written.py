"""What a model writes about rows of its data, beside what would be right."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.vocabulary import as_text
from dltrain.inference.bundle import Bundle
from dltrain.types import Kind, content


@dataclass(frozen=True)
class Written:
    """One row: its number, the text to write about ("" for a picture), what is right, and what was written."""

    row: int
    source: str
    truth: str
    text: str
    right: bool


def written_about(bundle: Bundle, read: Mapping[str, Any], rows: np.ndarray, **options: Any) -> Iterator[Written]:
    """Let the model write about these rows, int [N]; options (key, temperature) as of `engine.decoding.write`."""
    spec = bundle.raw_spec
    inputs = content(read, spec)
    found = bundle.decode(read["inputs"], **options)
    for i, row in enumerate(rows):
        source = as_text(inputs[i], spec.input.vocabulary) if spec.input.kind is Kind.TOKENS else ""
        right = not ((found[i] != read["targets"][i]) & read["loss_mask"][i]).any()
        truth, text = (as_text(tokens, spec.target.vocabulary) for tokens in (read["targets"][i], found[i]))
        yield Written(int(row), source, truth, text, right)

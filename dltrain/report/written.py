"""What a model writes about rows of its data, beside what would be right."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.build.program import Program
from dltrain.data.vocabulary import as_text
from dltrain.engine.state import TrainState
from dltrain.inference.generate import written
from dltrain.types import Kind, content


@dataclass(frozen=True)
class Written:
    """One row: its number, the text to write about ("" for a picture), what is right, and what was written."""

    row: int
    source: str
    truth: str
    text: str
    right: bool


def written_about(program: Program, state: TrainState, rows: np.ndarray, **options: Any) -> Iterator[Written]:
    """Let the model write about these rows, int [N]; options (key, temperature) as of `engine.decoding.write`."""
    spec, read = program.parts.spec, program.parts.source.read(rows)
    inputs = content(read, spec)
    found = written(program, state, rows, **options)
    for i, row in enumerate(rows):
        source = as_text(inputs[i], spec.input.vocabulary) if spec.input.kind is Kind.TOKENS else ""
        right = not ((found[i] != read["targets"][i]) & read["loss_mask"][i]).any()
        truth, text = (as_text(tokens, spec.target.vocabulary) for tokens in (read["targets"][i], found[i]))
        yield Written(int(row), source, truth, text, right)

"""What a model that draws examples from noise has learnt so far: as a picture, and as files."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.build.program import Program
from dltrain.engine.events import TrainEvent
from dltrain.engine.state import TrainState
from dltrain.inference.generate import sample
from dltrain.runs.files import replace_bytes, writing
from dltrain.runs.recorder import Recorder
from dltrain.types import Kind

PICTURES = 64
ROWS = 1000  # of numbers, to see how they are distributed
SHOWN = 400  # pictures that a mosaic has at most


@dataclass
class Sampling:
    """A callback: draws examples from the same noise each time, into TensorBoard."""

    program: Program
    recorder: Recorder

    def __call__(self, event: TrainEvent) -> None:
        """Draw."""
        from dltrain.plots.png import png_bytes, png_size

        png = png_bytes(drawn(self.program, event.state))
        self.recorder.writer().image(event.step, "made", png, *png_size(png))


def usual(program: Program) -> int:
    """Say how many examples make a good picture."""
    return PICTURES if program.parts.spec.input.kind is Kind.IMAGE else ROWS


def drawn(program: Program, state: TrainState) -> Any:
    """Draw what the model makes, as `shown` does."""
    return shown(program, sample(program, state, usual(program)))


def shown(program: Program, made: np.ndarray) -> Any:
    """Draw examples [N, ...]: pictures side by side, numbers by their distribution beside the data's."""
    from dltrain.plots.panels import histograms, mosaic

    spec = program.parts.spec
    if spec.input.kind is Kind.IMAGE:
        few = made[:SHOWN]
        return mosaic(few, columns=max(8, math.isqrt(len(few) - 1) + 1))  # a square from 64 on
    rows = program.parts.splits.train[:ROWS]
    real = program.parts.source.read(rows)["inputs"]
    width = spec.input.shape[-1]
    return histograms(np.reshape(real, (-1, width)), np.reshape(made, (-1, width)), spec.input.names)


def keep(program: Program, made: np.ndarray, path: Path) -> Path:
    """Write examples to `path`, an .npz with the array `made` [N, ...], and return where their picture lies."""
    from dltrain.plots.png import png_bytes

    packed, picture = io.BytesIO(), path.with_suffix(".png")
    np.savez(packed, made=made)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, packed.getvalue())
    replace_bytes(picture, png_bytes(shown(program, made)))
    return picture

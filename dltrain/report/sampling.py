"""What a model that draws examples from noise has learnt so far, as a picture."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.engine.callbacks import Moment
from dltrain.engine.recorder import Recorder
from dltrain.engine.state import TrainState
from dltrain.program import Program
from dltrain.types import Kind

PICTURES = 64
ROWS = 1000  # of numbers, to see how they are distributed


@dataclass
class Sampling:
    """A callback: draws examples from the same noise each time, into TensorBoard."""

    program: Program
    recorder: Recorder

    def __call__(self, moment: Moment) -> None:
        """Draw."""
        from dltrain.plots.png import png_bytes, png_size

        png = png_bytes(drawn(self.program, moment.state))
        self.recorder.writer().image(moment.step, "made", png, *png_size(png))


def drawn(program: Program, state: TrainState) -> Any:
    """Draw what the model makes: pictures side by side, numbers by their distribution beside the data's."""
    from dltrain.plots.panels import histograms, mosaic

    spec = program.parts.spec
    if spec.kind is Kind.IMAGE:
        return mosaic(program.sample(state, PICTURES))
    rows = program.parts.splits.train[:ROWS]
    real = program.parts.source.read(rows)["inputs"]
    made = program.sample(state, ROWS)
    width = spec.inputs.shape[-1]
    return histograms(np.reshape(real, (-1, width)), np.reshape(made, (-1, width)), spec.features)

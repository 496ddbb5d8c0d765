"""Samples that a model generates from noise: as a figure, and as files."""

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

IMAGES = 64
TABLE_ROWS = 1000  # enough to compare distributions
SHOWN = 400  # most images in a mosaic


@dataclass
class Sampling:
    """A callback that generates samples from the same noise each time, and shows them in TensorBoard."""

    program: Program
    recorder: Recorder

    def __call__(self, event: TrainEvent) -> None:
        """Generate and draw."""
        from dltrain.plots.png import png_bytes, png_size

        png = png_bytes(drawn(self.program, event.state))
        self.recorder.writer().image(event.step, "generated", png, *png_size(png))


def default_count(program: Program) -> int:
    """Return how many samples make a good figure."""
    return IMAGES if program.parts.spec.input.kind is Kind.IMAGE else TABLE_ROWS


def drawn(program: Program, state: TrainState) -> Any:
    """Generate samples and draw them, as `shown` does."""
    return shown(program, sample(program, state, default_count(program)))


def shown(program: Program, samples: np.ndarray) -> Any:
    """Draw samples [N, ...]: images as a mosaic, table columns as histograms next to those of the data."""
    from dltrain.plots.panels import histograms, mosaic

    spec = program.parts.spec
    if spec.input.kind is Kind.IMAGE:
        few = samples[:SHOWN]
        return mosaic(few, columns=max(8, math.isqrt(len(few) - 1) + 1))  # a square from 64 on
    rows = program.parts.splits.train[:TABLE_ROWS]
    real = program.parts.source.read(rows)["inputs"]
    width = spec.input.shape[-1]
    return histograms(np.reshape(real, (-1, width)), np.reshape(samples, (-1, width)), spec.input.names)


def save_samples(program: Program, samples: np.ndarray, path: Path) -> Path:
    """Write samples to `path`, an .npz with the array `generated` [N, ...], and return the path of their figure."""
    from dltrain.plots.png import png_bytes

    packed, figure = io.BytesIO(), path.with_suffix(".png")
    np.savez(packed, generated=samples)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, packed.getvalue())
    replace_bytes(figure, png_bytes(shown(program, samples)))
    return figure

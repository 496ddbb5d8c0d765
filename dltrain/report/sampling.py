"""Samples that a model generates from noise: as a figure, and as files."""

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dltrain.build.program import Program
from dltrain.engine.events import TrainEvent
from dltrain.engine.state import TrainState
from dltrain.inference.open import bundle_of
from dltrain.plots.artist import draw_pngs
from dltrain.plots.plot import Plot, plot
from dltrain.report.captions import describe_state
from dltrain.runs.files import Files, files_at
from dltrain.runs.recorder import Recorder
from dltrain.types import Kind, Spec, content

IMAGES = 64
TABLE_ROWS = 1000  # enough to compare distributions
SHOWN = 400  # maximum number of images in a mosaic


@dataclass
class Sampling:
    """Callback that generates samples from the same noise each time and shows them in TensorBoard."""

    program: Program
    recorder: Recorder

    def __call__(self, event: TrainEvent) -> None:
        """Generate samples and draw them."""
        caption = f"generated at {describe_state(self.program, event.step)}, seed 0"
        pngs = draw_pngs({"generated": plot_samples(self.program, event.state).with_caption(caption)})
        self.recorder.figure(event.step, "generated", pngs["generated"])


def default_count(spec: Spec) -> int:
    """Return how many samples make a good figure."""
    return IMAGES if spec.input.kind is Kind.IMAGE else TABLE_ROWS


def plot_samples(program: Program, state: TrainState) -> Plot:
    """Generate samples, to be drawn as by `samples_plot`, next to training examples."""
    spec = program.parts.spec
    return samples_plot(bundle_of(program, state).sample(default_count(spec)), spec, real_examples(program))


def real_examples(program: Program) -> np.ndarray | None:
    """Read training examples to compare samples with, [N, ...]; None for images, which are shown alone."""
    if program.parts.spec.input.kind is Kind.IMAGE:
        return None
    return content(program.parts.source.read(program.parts.splits.train[:TABLE_ROWS]), program.parts.spec)


def samples_plot(samples: np.ndarray, spec: Spec, real: np.ndarray | None = None) -> Plot:
    """Plot samples [N, ...]: images as a mosaic, table columns as histograms, next to `real` examples if given."""
    if spec.input.kind is Kind.IMAGE:
        few = samples[:SHOWN]
        return plot("panels.mosaic", few, columns=max(8, math.isqrt(len(few) - 1) + 1))  # a square from 64 on
    width = spec.input.shape[-1]
    columns = None if real is None else np.reshape(real, (-1, width))
    return plot("panels.histograms", columns, np.reshape(samples, (-1, width)), spec.input.names)


def save_samples(
    samples: np.ndarray,
    folder: Path | Files,
    name: str,
    spec: Spec,
    real: np.ndarray | None = None,
    *,
    caption: str,
) -> Path:
    """Write samples to a file in `folder`, and return the path of their figure.

    `name` ends in .npz; the file holds the array `generated` [N, ...].
    """
    packed, figure, files = io.BytesIO(), Path(name).with_suffix(".png").name, files_at(folder)
    np.savez(packed, generated=samples)
    files.replace(name, packed.getvalue())
    pngs = draw_pngs({figure: samples_plot(samples, spec, real).with_caption(caption)})
    files.replace(figure, pngs[figure])
    return files.path / figure

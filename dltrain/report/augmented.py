"""A figure of augmented training examples, drawn before training so that mistakes show early."""

import jax
import numpy as np

from dltrain.build.program import Program
from dltrain.plots.artist import draw_pngs
from dltrain.plots.plot import plot
from dltrain.runs.folder import RunFolder
from dltrain.runs.recorder import Recorder
from dltrain.types import Kind, Spec, content

EXAMPLES, VERSIONS = 8, 3


def draw_augmented(recorder: Recorder, program: Program, folder: RunFolder) -> None:
    """Draw the first examples of the first batch into `report/` and TensorBoard, if inputs are augmented images.

    Training sees other random draws and, for mixtures, other partners.
    """
    parts = program.parts
    if not parts.augment.named or parts.spec.shown.kind in (Kind.NUMBERS, Kind.TOKENS):
        return
    from dltrain.plots.labels import labels  # imports matplotlib

    examples = parts.pipeline.indices(0, 1)[0]
    examples = examples[examples >= 0][:EXAMPLES]
    batch = {**parts.source.read(examples), "mask": np.ones(len(examples), bool)}
    originals, scaled = content(batch, parts.spec), parts.preprocess.scaled(batch)
    augment = jax.jit(parts.augment.augmented)
    keys = jax.random.split(jax.random.key(program.plan.seed), VERSIONS)
    made = [augment(scaled, key) for key in keys]
    versions = np.stack([np.asarray(parts.preprocess.raw_content(content(one, parts.spec))) for one in made])
    names = labels(parts.spec.classes, length=10)
    titles = [_titles(np.asarray(one["targets"]), parts.spec, names) for one in (batch, *made)]
    drawn = plot("augmented.augmented", np.asarray(originals), versions, parts.spec.input.kind, titles)
    png = draw_pngs({"augmented": drawn})["augmented"]
    (folder.files / "report").replace("augmented.png", png)
    recorder.figure(0, "augmented", png)


def _titles(targets: np.ndarray, spec: Spec, names: list[str]) -> list[str]:
    """Return each example's class; of a mixture the two largest shares; nothing without classes."""
    if not spec.task.supervised or not spec.has_labels:
        return [""] * len(targets)
    if not np.issubdtype(targets.dtype, np.floating):
        return [names[k] for k in targets]
    shares = targets if targets.ndim == 2 else np.stack([1 - targets, targets], -1)
    two = np.argsort(-shares, axis=1, kind="stable")[:, :2]
    return [
        "\n".join(f"{names[k]} {row[k]:.0%}" for k in largest if row[k] > 0.005)
        for row, largest in zip(shares, two, strict=True)
    ]

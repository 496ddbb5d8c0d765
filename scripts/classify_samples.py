"""Classify samples of a GAN: `python scripts/classify_samples.py GAN_RUN CLASSIFIER_RUN [COUNT]`.

Both are run folders of dltrain, trained on images of one size. Prints the share of the generated images for which
the classifier has a class of probability 0.9 or more, and the share of each class among all of them.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain.build.parts import assemble
from dltrain.build.plan import make_plan
from dltrain.build.program import Program
from dltrain.composition.compose import amend_words
from dltrain.config.folders import read_yaml
from dltrain.engine.state import TrainState
from dltrain.inference.open import bundle_of
from dltrain.runs.folder import RunFolder
from dltrain.runs.restore import load_state

SURE = 0.9


def loaded(path: Path) -> tuple[Program, TrainState]:
    """Load a run with its best weights."""
    folder = RunFolder(path)
    config = amend_words(read_yaml(folder.config)).config
    parts = assemble(config)
    program = Program(parts, make_plan(config, parts))
    return program, load_state(folder, "best", program.shapes, warn=print)[0]


def generated(path: Path, count: int) -> np.ndarray:
    """Generate images with the model of a run, [count, H, W, C], rounded to integers like those of the data."""
    program, state = loaded(path)
    return np.round(bundle_of(program, state).sample(count))


def probabilities(path: Path, images: np.ndarray) -> np.ndarray:
    """Return the probabilities of the classifier of a run: images [N, H, W, C] -> [N, K]."""
    program, state = loaded(path)
    model = nnx.merge(program.graphs.eval, *program.eval_params(state))
    scaled = program.parts.preprocess.scaling.forward(jnp.asarray(images))
    return np.asarray(jax.nn.softmax(model(scaled, mask=None, rngs=None)))


def confidence_and_shares(probability: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the share of images with a confident class, and the share of each class."""
    shares = np.bincount(probability.argmax(1), minlength=probability.shape[1]) / len(probability)
    return float((probability.max(1) >= SURE).mean()), shares


def main(gan: str, classifier: str, count: str = "1000") -> None:
    """Print both shares."""
    sure, shares = confidence_and_shares(probabilities(Path(classifier), generated(Path(gan), int(count))))
    print(f"confident about {sure:.1%} of {count}; classes " + " ".join(f"{share:.1%}" for share in shares))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Trained from the command line, each generative model beats an untrained baseline, or the best linear one."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from dltrain.data.sources.digit_masks import DigitMasks
from dltrain.data.sources.embedded import load_embedded
from dltrain.data.split import make_splits

pytestmark = pytest.mark.slow
SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "classify_samples.py"))


def digits():
    """The digits, and the splits that every run on them uses."""
    source = load_embedded("digits")
    rows = source.read(np.arange(len(source)))
    splits = make_splits(rows["targets"], len(source), published={}, validation=0.1, test=0.2, seed=0)
    return rows["inputs"].reshape(len(source), -1).astype(np.float64), rows["targets"], splits


def principal(components):
    """Error of PCA on the test examples, in the units of standardised pixels."""
    x, _, splits = digits()
    pca = PCA(components, svd_solver="full").fit(x[splits.train])
    left = x[splits.test] - pca.inverse_transform(pca.transform(x[splits.test]))
    return (left**2).mean() / x[splits.train].var()


def test_a_linear_autoencoder_finds_the_principal_components(trained, tmp_path):
    words = ("model.widths=[]", "model.code=8", "epochs=300", "optim.learning_rate=0.01", "schedule=cosine")
    found = trained(tmp_path / "run", "model=autoencoder", *words)
    assert found["reconstruction_error"] == pytest.approx(principal(8), rel=0.01)


def test_an_autoencoder_beats_as_many_principal_components(trained, tmp_path):
    words = ("model.widths=[128]", "model.code=8", "epochs=100", "optim.learning_rate=0.003", "schedule=cosine")
    found = trained(tmp_path / "run", "model=autoencoder", *words)
    assert found["reconstruction_error"] < 0.8 * principal(8)


def test_a_boltzmann_machine_reconstructs_better_than_sixteen_principal_components(trained, tmp_path):
    found = trained(tmp_path / "run", "model=rbm", "epochs=60", "optim.learning_rate=0.01")
    x, _, splits = digits()
    assert found["reconstruction_error"] < principal(16) * x[splits.train].var() / 16**2


def test_a_unet_beats_every_threshold(trained, tmp_path):
    found = trained(tmp_path / "run", "data=digit_masks", "model=unet")
    splits = make_splits(None, 1797, published={}, validation=0.1, test=0.2, seed=0)
    rows = DigitMasks(load_embedded("digits")).read(splits.test)
    truth = rows["targets"] == 1

    def mean_iou(level):
        there = rows["inputs"][..., 0] >= level
        return np.mean([(a & b).sum() / (a | b).sum() for a, b in ((truth, there), (~truth, ~there))])

    assert found["iou"] > max(map(mean_iou, range(256))) + 0.2


def inside(rows, others):
    """Share of `rows` that lie no further from one of the others than its third neighbour there.

    Of generated examples among real ones this is called precision, of real ones among generated ones recall
    (arXiv:1904.06991).
    """
    radius = NearestNeighbors().fit(others).kneighbors(others, 4)[0][:, 3]
    return (pairwise_distances(rows, others) <= radius).any(1).mean()


@pytest.fixture(scope="module")
def compared():
    """Precision and recall of a run's generated digits minus those of a Gaussian, which is linear in its noise."""
    x, _, splits = digits()
    train, test = x[splits.train], x[splits.test]
    drawn = np.random.default_rng(0).multivariate_normal(train.mean(0), np.cov(train.T), 1000)
    drawn = np.round(drawn).clip(0, 16)

    def compare(run):
        made = SCRIPT["generated"](run, 1000).reshape(1000, -1)
        return inside(made, train) - inside(drawn, train), inside(test, made) - inside(test, drawn)

    return compare


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("model=gan", ("epochs=300", "model.output=tanh", "data.scale=symmetric")),  # + 0.45, + 0.18
        ("model=dcgan", ("epochs=150",)),
    ],
)
def test_generated_digits_are_nearer_to_real_ones_than_a_gaussians(model, words, trained, compared, tmp_path):
    trained(tmp_path / "run", model, *words, "optim.learning_rate=0.0005", "optim.b1=0.5")
    precision, recall = compared(tmp_path / "run")
    assert precision > 0.25
    assert recall > 0.08

"""Trained from the command line, each model beats what needs no training, or the best that is linear."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from dltrain.data.sources.digit_masks import DigitMasks
from dltrain.data.sources.embedded import load_embedded
from dltrain.data.split import make_splits

pytestmark = pytest.mark.slow
JUDGE = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "judge_samples.py"))


def digits():
    """The rows of the digits, and the splits that every run on them has."""
    source = load_embedded("digits")
    rows = source.read(np.arange(len(source)))
    splits = make_splits(rows["targets"], len(source), published={}, validation=0.1, test=0.2, seed=0)
    return rows["inputs"].reshape(len(source), -1).astype(np.float64), rows["targets"], splits


def trained(dltrain, folder, *words):
    said = dltrain(*words, "quiet=true", f"output_dir={folder}")
    assert said.code == 0, said.err
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))["test"]


def principal(components):
    """Error of PCA on the test rows, in the units of standardised pixels."""
    x, _, splits = digits()
    pca = PCA(components, svd_solver="full").fit(x[splits.train])
    left = x[splits.test] - pca.inverse_transform(pca.transform(x[splits.test]))
    return (left**2).mean() / x[splits.train].var()


def test_a_linear_autoencoder_finds_the_principal_components(dltrain, tmp_path):
    words = ("model.widths=[]", "model.code=8", "epochs=150", "optim.learning_rate=0.01", "schedule=cosine")
    found = trained(dltrain, tmp_path / "run", "model=autoencoder", *words)
    assert found["reconstruction_error"] == pytest.approx(principal(8), rel=0.01)


def test_an_autoencoder_beats_as_many_principal_components(dltrain, tmp_path):
    words = ("model.widths=[128]", "model.code=8", "epochs=100", "optim.learning_rate=0.003", "schedule=cosine")
    found = trained(dltrain, tmp_path / "run", "model=autoencoder", *words)
    assert found["reconstruction_error"] < 0.8 * principal(8)


def test_a_boltzmann_machine_reconstructs_better_than_sixteen_principal_components(dltrain, tmp_path):
    found = trained(dltrain, tmp_path / "run", "model=rbm", "epochs=60", "optim.learning_rate=0.01")
    x, _, splits = digits()
    assert found["reconstruction_error"] < principal(16) * x[splits.train].var() / 16**2


def test_a_unet_beats_every_threshold(dltrain, tmp_path):
    found = trained(dltrain, tmp_path / "run", "data=digit_masks", "model=unet")
    splits = make_splits(None, 1797, published={}, validation=0.1, test=0.2, seed=0)
    rows = DigitMasks(load_embedded("digits")).read(splits.test)
    truth = rows["targets"] == 1

    def mean_iou(level):
        there = rows["inputs"][..., 0] >= level
        return np.mean([(a & b).sum() / (a | b).sum() for a, b in ((truth, there), (~truth, ~there))])

    assert found["iou"] > max(map(mean_iou, range(256))) + 0.2


def test_a_dcgan_makes_digits_that_a_classifier_knows(dltrain, tmp_path):
    words = ("epochs=150", "optim.learning_rate=0.0005", "optim.b1=0.5")
    trained(dltrain, tmp_path / "run", "model=dcgan", *words)
    x, y, splits = digits()
    classifier = SVC(probability=True, random_state=0).fit(x[splits.train], y[splits.train])
    assert classifier.score(x[splits.test], y[splits.test]) > 0.98
    made = JUDGE["made"](tmp_path / "run", 1000).reshape(1000, -1)
    sure, shares = JUDGE["judged"](classifier.predict_proba(made))
    assert sure > 0.6
    assert shares.min() > 0.02

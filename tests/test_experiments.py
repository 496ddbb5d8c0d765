"""The experiments in dltrain reach the results in the README, on the published data sets.

Half an hour on two cores; those whose data is not at hand are skipped.
"""

import json
import os
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DLTRAIN_DATA") or ROOT.parent / "shared" / "data")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def trained(dltrain, tmp_path_factory):
    """Train an experiment by its name, once; return its folder."""
    done = {}

    def train(name, folder, *words):
        if not (DATA / folder).exists():
            pytest.skip(f"{DATA / folder} is not there; set DLTRAIN_DATA")
        if name not in done:
            run = tmp_path_factory.mktemp(name) / "run"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("DLTRAIN_DATA", str(DATA))
                result = dltrain(f"experiment={name}", *words, "quiet=true", f"output_dir={run}")
            assert result.code == 0, result.err
            done[name] = run
        return done[name]

    return train


def measured(run, split="test"):
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))[split]


@pytest.mark.parametrize(
    ("name", "folder", "metric", "least"),
    [("mnist_lenet", "mnist", "accuracy", 0.985), ("fashion_mnist_cnn", "fashion-mnist", "accuracy", 0.92)],
)
def test_images_are_classified(name, folder, metric, least, trained):
    assert measured(trained(name, folder))[metric] > least


@pytest.mark.parametrize(
    ("name", "folder", "metric", "most"),
    [("etth1", "ett", "mse", 0.37), ("airline", "airline-passengers", "mape", 0.035)],
)
def test_series_are_forecast_on_every_window(name, folder, metric, most, trained):
    run = trained(name, folder, f"data.root={DATA / folder}")
    best = json.loads((run / "summary.json").read_text(encoding="utf-8"))["best"]["test"]
    assert best[metric] <= most


def test_a_model_of_shakespeares_letters_beats_the_published_one(trained):
    assert measured(trained("tinyshakespeare", "tinyshakespeare"), "validation")["loss"] < 1.88


def test_a_classifier_is_confident_about_generated_digits_and_finds_every_class(trained, monkeypatch):
    gan, classifier = trained("mnist_dcgan", "mnist"), trained("mnist_lenet", "mnist")
    monkeypatch.setenv("DLTRAIN_DATA", str(DATA))
    script = runpy.run_path(str(ROOT / "scripts" / "classify_samples.py"))
    sure, shares = script["confidence_and_shares"](
        script["probabilities"](classifier, script["generated"](gan, 1000))
    )
    assert sure >= 0.8
    assert shares.min() >= 0.03

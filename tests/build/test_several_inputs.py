"""Data with several inputs and several targets: the model receives dicts by name, and the rest works as for one."""

import json

import numpy as np
import pytest
from few import few

from dltrain.api import open_run
from dltrain.data.check import check_examples
from dltrain.data.preprocess import Scale, fit
from dltrain.data.sources.rows import Rows
from dltrain.errors import ConfigError, DataError
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

PARTS = '''
"""An image, two numbers and a category, and what to predict from them."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx

from dltrain.data.sources.rows import Rows
from dltrain.tasks import Task
from dltrain.types import Feature, Kind, Spec


def _inputs(n=300):
    rng = np.random.default_rng(0)
    inputs = {
        "photo": rng.integers(0, 256, (n, 4, 4, 1), np.uint8),
        "measures": rng.normal(50, 10, (n, 2)).astype(np.float32),
        "colour": (np.arange(n) % 3).astype(np.int32),
    }
    features = {
        "photo": Feature(Kind.IMAGE, (4, 4, 1), "uint8"),
        "measures": Feature(Kind.NUMBERS, (2,), "float32", names=("width", "height")),
        "colour": Feature(Kind.CATEGORY, (), "int32", vocabulary=("red", "green", "blue")),
    }
    return inputs, features


def read_one():
    inputs, features = _inputs()
    label = (inputs["measures"][:, 0] > 50).astype(np.int32)
    target = Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))
    return Rows({"inputs": inputs, "targets": label}, Spec(features, {"bought": target}))


def read_two():
    inputs, features = _inputs()
    targets = {"price": inputs["measures"][:, :1] * 3, "bought": (inputs["measures"][:, 0] > 50).astype(np.int32)}
    kinds = {
        "price": Feature(Kind.NUMBERS, (1,), "float32"),
        "bought": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes")),
    }
    return Rows({"inputs": inputs, "targets": targets}, Spec(features, kinds))


class Joined(nnx.Module):
    """Puts all inputs into one vector."""

    def __init__(self, *, spec, rngs):
        assert list(spec.inputs) == ["photo", "measures", "colour"]
        self.colour = nnx.Embed(3, 2, rngs=rngs)
        self.layer = nnx.Linear(16 + 2 + 2, spec.outputs, rngs=rngs)

    def __call__(self, inputs, *, mask, rngs):
        photo, colour = inputs["photo"].reshape(len(inputs["colour"]), -1), self.colour(inputs["colour"])
        return self.layer(jnp.concatenate([photo, inputs["measures"], colour], 1))


class Two(Joined):
    """An output for each of two targets."""

    def __call__(self, inputs, *, mask, rngs):
        outputs = super().__call__(inputs, mask=mask, rngs=rngs)
        return {"price": outputs[:, :1], "bought": outputs[:, 1]}


@dataclass(frozen=True)
class PriceAndSale(Task):
    def outputs(self, spec):
        return 2

    def decide(self, outputs, spec):
        return {"price": outputs["price"], "bought": outputs["bought"] > 0}


def both(outputs, batch):
    sign = 2 * batch["targets"]["bought"] - 1
    error = (outputs["price"] - batch["targets"]["price"] / 100)[:, 0]
    return error**2 + jnp.logaddexp(0, -sign * outputs["bought"])


def sale(outputs, batch):
    return ((outputs["bought"] > 0) == batch["targets"]["bought"]).astype(jnp.float32)
'''
FILES = {
    "data/one.yaml": "# One target\n_target_: several.read_one\ntask: classification\n",
    "data/two.yaml": "# Two targets\n_target_: several.read_two\ntask: both\n",
    "model/joined.yaml": "# All inputs\n_target_: several.Joined\n",
    "model/two.yaml": "# Two outputs\n_target_: several.Two\n",
    "task/both.yaml": (
        "# A price and a sale\n_target_: several.PriceAndSale\nloss: both\nmetrics: sale\nmonitor: [sale]\n"
    ),
    "loss/both.yaml": "# Both\n_target_: several.both\n",
    "metrics/sale.yaml": "# Share of sales that were predicted\nsale: {_target_: several.sale, better: higher}\n",
}
OWN = ("--config-dir", "conf", "trust=[several]", "batch_size=8", "epochs=2", "output_dir=run")


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "several.py").write_text(PARTS)
    for name, text in FILES.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@few("feed", ["resident", "streamed"], 1)
def test_several_inputs_are_scaled_each_and_given_by_name(feed, project, dltrain):
    result = dltrain(*OWN, "data=one", "model=joined", f"data.feed={feed}", "metrics=accuracy")
    assert result.code == 0, result.err
    assert "photo 4×4×1 uint8, measures 2 float32, colour 1 int32; classification, 2 classes" in result.out
    assert (project / "run/report/samples.png").exists()  # of the image
    run = open_run("run", trust=["several"])
    steps = json.loads((project / "run/model.json").read_text())["preprocess"]["inputs"]
    assert {name: len(chain) for name, chain in steps.items()} == {"photo": 1, "measures": 1, "colour": 0}
    inputs = {
        "photo": np.zeros((3, 4, 4, 1), np.uint8),
        "measures": np.full((3, 2), 50.0),
        "colour": np.array([0, 1, 2]),
    }
    assert run.outputs(inputs).shape == (3, 2)
    with pytest.raises(DataError, match="colour is missing; give a dict with photo, measures, colour"):
        run.outputs({name: inputs[name] for name in ("photo", "measures")})


@pytest.mark.slow
def test_several_targets_are_given_by_name_to_the_loss_and_the_metrics_of_a_task(project, dltrain):
    result = dltrain(*OWN, "data=two", "model=two", "epochs=10", "optim.learning_rate=0.02")
    assert result.code == 0, result.err
    best = json.loads((project / "run/summary.json").read_text())["best"]
    assert best["validation"]["sale"] >= 0.8
    found = dltrain("evaluate", "run", "trust=[several]", "split=test")
    assert found.code == 0, found.err


def test_a_model_of_one_input_names_the_inputs_of_the_data(project, dltrain):
    result = dltrain(*OWN, "data=one", "model=cnn")
    assert result.code == 2
    assert "expected exactly one of the inputs of the data, found photo (image), measures (numbers)" in result.err


def test_a_model_of_vectors_takes_all_inputs(project, dltrain):
    result = dltrain(*OWN, "data=one", "model=mlp", "dry_run=true")
    assert result.code == 0, result.err
    assert (
        "8,960" in result.out
    )  # 64 values of the image, 2 numbers and 3 levels for 128 units, with biases: 69 * 128 + 128 = 8,960


def test_each_input_is_scaled_by_its_own_mean_and_deviation():
    features = {
        "a": Feature(Kind.NUMBERS, (1,), "float32"),
        "b": Feature(Kind.NUMBERS, (2,), "float32"),
        "c": Feature(Kind.CATEGORY, (), "int32", vocabulary=("x", "y")),
    }
    spec = Spec(features, {"y": Feature(Kind.NUMBERS, (1,), "float32")}, Regression())
    a, b = np.arange(8.0, dtype=np.float32)[:, None], np.arange(16.0, dtype=np.float32).reshape(8, 2) * 5
    inputs = {"a": a, "b": b, "c": (np.arange(8) % 2).astype(np.int32)}
    preprocess = fit(inputs, a * 7, spec=spec, scale=Scale.STANDARD)
    scaled = preprocess.scaled({"inputs": inputs, "targets": a * 7})
    for name, values in (("a", a), ("b", b)):
        expected = (values - values.mean(0)) / values.std(0)
        np.testing.assert_allclose(scaled["inputs"][name], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(scaled["inputs"]["c"], inputs["c"])
    np.testing.assert_allclose(np.std(scaled["targets"]), 1, rtol=1e-6)
    with pytest.raises(ConfigError, match="applies to data with one input, and this has a, b, c"):
        fit(inputs, a, spec=spec, scale=Scale.STANDARD, steps=[object()])
    with pytest.raises(ConfigError, match="inputs: expected a dict with a, b, found a single array"):
        preprocess.host(a)


def test_a_category_among_the_inputs_that_is_out_of_range_is_named():
    spec = Spec(
        {
            "a": Feature(Kind.NUMBERS, (1,), "float32"),
            "c": Feature(Kind.CATEGORY, (), "int32", vocabulary=("x", "y")),
        },
        {"y": Feature(Kind.NUMBERS, (1,), "float32")},
    )
    column = np.zeros((3, 1), np.float32)
    rows = Rows({"inputs": {"a": column, "c": np.array([0, 2, 1], np.int32)}, "targets": column}, spec)
    with pytest.raises(DataError, match=r"inputs\.c of example 1: 2, expected 0\.\.1 \(2 classes\)"):
        check_examples(rows.arrays, spec)

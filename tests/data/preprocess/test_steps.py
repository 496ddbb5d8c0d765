"""Steps are fitted in order, on what the steps before them return, and survive JSON bit for bit."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from dltrain.build.locate import locate
from dltrain.data.preprocess import Affine, Chain, Lookup, Preprocess, Scale, Scaler, fit
from dltrain.data.preprocess.step import check_order, check_step
from dltrain.data.vocabulary import SPECIAL
from dltrain.errors import ConfigError
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind, Spec

TABLE = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"target": Feature(Kind.NUMBERS, (2,), "float32")},
    Regression(),
)


class Halve:
    """A host half: integers are halved, floats count as halved already."""

    def __init__(self, seen=()):
        self.seen = list(seen)

    def fit(self, blocks):
        return Halve([float(block.mean()) for block in blocks])

    def host(self, values):
        return values / np.float32(2) if np.issubdtype(values.dtype, np.integer) else values

    def to_json(self):
        return {"seen": self.seen}

    @classmethod
    def from_json(cls, saved):
        return cls(saved["seen"])


class Center:
    """A graph half: subtracts the mean of all training examples."""

    def __init__(self, mean=0.0):
        self.mean = mean

    def fit(self, blocks):
        return Center(float(np.mean([block.mean() for block in blocks])))

    def forward(self, x):
        return x - self.mean

    def inverse(self, x):
        return x + self.mean

    def to_json(self):
        return {"mean": self.mean}

    @classmethod
    def from_json(cls, saved):
        return cls(saved["mean"])


def there(saved, **about):
    """Return the preprocessing in a run folder's JSON; the steps of this test are found by name."""
    own = {f"{step.__module__}.{step.__qualname__}": step for step in (Halve, Center)}
    return Preprocess.from_json(saved, lambda name: own.get(name) or locate(name, path="model.json"), **about)


def test_bits_survive_json():
    rng = np.random.default_rng(0)
    x = rng.normal([1e4, -3, 1e-30], [7, 1e-3, 1e-31], (50, 3)).astype(np.float32)
    y = rng.normal(size=(50, 2)).astype(np.float32) / np.float32(3)
    before = fit(x, y, spec=TABLE, scale=Scale.STANDARD)
    after = there(json.loads(json.dumps(before.to_json())))
    for mine, read in ((before.scaling, after.scaling), (before.target_scaling, after.target_scaling)):
        assert mine.shift.tobytes() == read.shift.tobytes() and mine.scale.tobytes() == read.scale.tobytes()
        assert read.shift.dtype == np.float32


def test_inputs_need_no_targets():
    preprocess = fit(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32), spec=TABLE, scale=Scale.STANDARD)
    scaled = preprocess.scaled({"inputs": jnp.full((2, 3), 3.0)})
    assert sorted(scaled) == ["inputs"]
    np.testing.assert_array_equal(scaled["inputs"], np.full((2, 3), 2.0))


def test_each_step_is_fitted_on_what_the_steps_before_it_return():
    x, y = np.arange(12, dtype=np.int32).reshape(4, 3), np.zeros((4, 2), np.float32)
    preprocess = fit(x, y, spec=TABLE, scale=Scale.STANDARD, steps=[Halve(), Center()])
    halve, center, scale = preprocess.inputs["numbers"].steps
    assert halve.seen == [5.5] and center.mean == 2.75
    np.testing.assert_allclose(scale.shift, x.mean(0) / 2 - 2.75)
    found = preprocess.scaled({"inputs": jnp.asarray(preprocess.host(x))})["inputs"]
    np.testing.assert_allclose(found, (x - x.mean(0)) / x.std(0), rtol=1e-6)
    np.testing.assert_allclose(preprocess.raw_content(found), x / 2, atol=1e-6)
    again = there(json.loads(json.dumps(preprocess.to_json())))
    np.testing.assert_array_equal(again.scaled({"inputs": jnp.asarray(again.host(x))})["inputs"], found)


def test_a_host_half_after_a_graph_half_is_refused():
    with pytest.raises(ConfigError, match=r"data.preprocess\[1\]: host halves run before graph halves"):
        check_order([Center(), Halve()], "data.preprocess")
    check_order([Halve(), Center()], "data.preprocess")


@pytest.mark.parametrize(("lost", "step"), [("inverse", Center), ("from_json", Halve), ("fit", Center)])
def test_what_is_not_a_step_is_refused(lost, step):
    names = {name: value for name, value in vars(step).items() if name not in (lost, "__dict__", "__weakref__")}
    with pytest.raises(ConfigError, match=rf"data.preprocess\[0\]: {step.__name__} is not .* no {lost}"):
        check_step(type(step.__name__, (), names)(), "data.preprocess[0]")


def test_a_step_that_a_config_may_not_name_is_not_read_back():
    with pytest.raises(ConfigError, match="a config may name parts of dltrain"):
        Chain.from_json([{"_target_": "os.system", "fitted": {}}], lambda name: locate(name, path="model.json"))


@pytest.mark.parametrize(
    "fitted",
    [
        {"shift": [0.0], "scale": [0.0]},
        {"shift": [0.0, 1.0], "scale": [1.0]},
        {"shift": [None], "scale": [1.0]},
        {"shift": 0.0, "scale": 1.0},
    ],
)
def test_damaged_scaling_is_refused(fitted):
    with pytest.raises((ValueError, TypeError)):
        Affine.from_json(fitted)


def test_options_of_scaling_survive_json():
    step = Scaler(Scale.UNIT, together=True)
    assert Scaler.from_json(json.loads(json.dumps(step.to_json()))) == step


def test_texts_are_looked_up_and_numbers_left_alone():
    lookup = Lookup.from_json(Lookup(("\n", "a", "b")).to_json())
    np.testing.assert_array_equal(lookup.host(["ab", "ba"]), [[1, 2], [2, 1]])
    np.testing.assert_array_equal(lookup.host(np.array([[2, 2]])), [[2, 2]])
    with pytest.raises(ConfigError, match="'x': not in the vocabulary of the model"):
        lookup.host(["ax"])
    with pytest.raises(ConfigError, match="texts of one length are needed"):
        lookup.host(["a", "ab"])
    with pytest.raises(ConfigError, match="put it into a list"):
        lookup.host("ab")


def test_words_are_cut_at_white_space_and_padded():
    lookup = Lookup((*SPECIAL, "one", "two"))
    np.testing.assert_array_equal(lookup.host(["two  one", "one"]), [[4, 3], [3, 0]])

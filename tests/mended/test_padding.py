"""A masked example never reaches a gradient, a batch statistic or a metric, whatever it contains."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import few

from dltrain import losses
from dltrain.data.preprocess import Affine, Chain, Preprocess
from dltrain.data.split import make_splits
from dltrain.engine.evaluate import Evaluator
from dltrain.engine.feed import Resident
from dltrain.engine.padding import fill_padding
from dltrain.engine.state import create, named_leaves, trace_module
from dltrain.engine.step import Objective, make_step
from dltrain.metrics import Average, mae
from dltrain.models.layers import Norm
from dltrain.models.mlp import MLP
from dltrain.tasks import Regression
from dltrain.types import Feature, Kind

pytestmark = pytest.mark.usefixtures("quickly_compiled")

CONTENTS = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": 3e38}
LOSSES = ("mse", "mae", "huber", "log_cosh", "exponential", "quantile")


@pytest.fixture(scope="module")
def regression(spec):
    """A step of an MLP with batch norm and dropout for two values, with each loss."""
    target = Feature(Kind.NUMBERS, (2,), "float32", names=("a", "b"))
    spec = replace(spec, task=Regression(), targets={"target": target})
    scaling = Affine(np.full(1, 2, np.float32), np.full(1, 3, np.float32))
    values = Affine(np.full(2, 1, np.float32), np.full(2, 5, np.float32))
    preprocess = Preprocess({"image": Chain((scaling,))}, {"target": Chain((values,))})

    def model(rngs):
        return MLP((5,), spec=spec, rngs=rngs, norm=Norm.BATCH, dropout=0.5)

    def optimizer(hparams):
        return optax.sgd(hparams["learning_rate"], momentum=0.9)

    def make(loss, accumulate=1):
        step = make_step(
            graphs=trace_module(model)[1],
            objective=Objective(getattr(losses, loss)),
            optimizer=optimizer,
            schedule=lambda step, total: jnp.float32(1),
            preprocess=preprocess,
            augment=lambda batch, key, left: batch,
            metrics={"mae": mae},
            log_every=1,
            accumulate=accumulate,
        )
        hparams = {"learning_rate": np.float32(0.1), "total_steps": np.int32(10)}
        return create(model, optimizer, seed=0, hparams=hparams), jax.jit(step)

    def evaluate(state, arrays):
        feed = Resident(arrays)
        graphs = trace_module(model)[1]
        options = {"loss": losses.mse, "metrics": {"mae": Average(mae)}, "preprocess": preprocess, "feed": feed}
        found = Evaluator(graphs=graphs, batch_size=4, batches=2, **options)
        return found(state.params, state.model_state, np.array([1, 2, 3, 4, 5], np.int32)).scalars

    return make, evaluate


def batch_with(content, *, part):
    rng = np.random.default_rng(0)
    batch = {
        "inputs": rng.normal(size=(6, 4, 4, 1)).astype(np.float32),
        "targets": rng.normal(size=(6, 2)).astype(np.float32),
        "weights": np.arange(1, 7, dtype=np.float32),
        "mask": np.array([True, True, True, False, True, False]),
    }
    for name in part.split():
        batch[name][[3, 5]] = content
    return batch


@few("loss", LOSSES, 2)
def test_a_step_is_the_same_to_the_bit_whatever_stands_in_the_padding(loss, regression):
    state, step = regression[0](loss)
    plain, logs = step(state, batch_with(0.0, part="inputs targets weights"))
    assert logs["finite"] == 1
    for content in CONTENTS.values():
        for part in ("inputs", "targets", "weights"):
            found, other = step(state, batch_with(content, part=part))
            for name, value in named_leaves(plain).items():
                np.testing.assert_array_equal(named_leaves(found)[name], value, err_msg=f"{name} {part}")
            assert all(other[name] == logs[name] for name in logs), part


def test_microbatches_are_the_same_whatever_stands_in_the_padding(regression):
    state, step = regression[0]("mse", 3)
    plain, _ = step(state, batch_with(0.0, part="inputs"))
    found, logs = step(state, batch_with(np.nan, part="inputs targets weights"))
    assert logs["finite"] == 1
    for name, value in named_leaves(plain).items():
        np.testing.assert_array_equal(named_leaves(found)[name], value, err_msg=name)


def test_an_evaluation_is_the_same_whatever_example_0_of_the_source_holds(regression):
    """The padding of a short batch of indices is example 0 of the source, of whichever split."""
    make, evaluate = regression
    state, _ = make("mse")
    arrays = {name: value for name, value in batch_with(0.0, part="inputs").items() if name != "mask"}
    expected = evaluate(state, arrays)
    arrays["inputs"][0], arrays["targets"][0] = np.nan, np.inf
    assert evaluate(state, arrays) == expected and np.isfinite(list(expected.values())).all()


def test_a_batch_on_several_devices_is_filled_in_the_same_way():
    inputs = {"a": np.arange(4), "b": np.eye(4) > 0}
    for mask in ([False, True, False, True], [True] * 4, [False] * 4):
        batch = {"mask": np.array(mask), "inputs": inputs}
        found, expected = fill_padding(batch, sharded=True), fill_padding(batch)
        for name in inputs:
            np.testing.assert_array_equal(found["inputs"][name], expected["inputs"][name])


def test_padding_is_a_copy_of_the_first_real_example():
    batch = {"mask": np.array([False, True, False, True]), "inputs": {"a": np.arange(4), "b": np.eye(4)}}
    found = fill_padding(batch)
    np.testing.assert_array_equal(found["inputs"]["a"], [1, 1, 1, 3])
    np.testing.assert_array_equal(found["inputs"]["b"], np.eye(4)[[1, 1, 1, 3]])
    assert found["mask"] is batch["mask"]
    alone = fill_padding({"mask": np.zeros(2, bool), "inputs": np.array([7, 8])})
    np.testing.assert_array_equal(alone["inputs"], [7, 7])


@pytest.mark.slow
def test_a_huge_value_in_the_test_split_does_not_stop_training(dltrain, tmp_path):
    def tested(seed):
        return make_splits(None, 10, published={}, validation=0.0, test=0.1, seed=seed).test.tolist()

    seed = next(seed for seed in range(100) if tested(seed) == [0])
    inputs, targets = "[3e38,1,2,3,4,5,6,7,8,9]", "[0,1,2,3,4,5,6,7,8,9]"
    words = (f"data.inputs={inputs}", f"data.targets={targets}", "data.scale=none", "batch_size=4", "steps=6")
    split = ("data.validation=0", "data.test=0.1", f"data.split_seed={seed}")
    run = ("optim=sgd", "optim.learning_rate=1e-3", f"output_dir={tmp_path / 'run'}", "quiet=true")
    said = dltrain("data=inline", "model=mlp", *words, *split, *run)
    assert said.code == 0, said.err

"""RealMLP against a PyTorch forward pass in float64; its dropout follows the progress of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain.models.layers import CurvedDropout
from dltrain.models.realmlp import RealMLP
from dltrain.tasks import Classification, Regression
from dltrain.types import PROGRESS, Feature, Kind, Spec

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
CLASSES = {"y": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c"))}
NUMBER = {"y": Feature(Kind.NUMBERS, (1,), "float32")}


def spec_with(targets, task):
    return Spec({"numbers": Feature(Kind.NUMBERS, (3,), "float32")}, targets, task)


def forward(w, x, activation):
    """Compute the outputs as PyTorch does, float64."""
    w = jax.tree.map(lambda a: torch.tensor(np.asarray(a, np.float64)), w)
    numbers, x = w["vector"]["numbers"]["numbers"], torch.tensor(x, dtype=torch.float64)
    waves = torch.cos(2 * torch.pi * x[:, :, None] * numbers["frequencies"] + numbers["phases"])
    linear = torch.einsum("bcf,cfs->bcs", waves, numbers["kernel"]) + numbers["bias"]
    x = torch.cat([linear, x[:, :, None]], -1).flatten(1) * w["front"]["scale"]
    for i, slope in w["slopes"].items():
        layer = w["hidden"][i]
        z = x @ layer["kernel"] / x.shape[1] ** 0.5 + layer["bias"]
        x = z + slope * (activation(z) - z)
    return (x @ w["head"]["kernel"] / x.shape[1] ** 0.5 + w["head"]["bias"]).numpy()


@pytest.mark.parametrize(
    ("targets", "task", "activation"),
    [(CLASSES, Classification(), "selu"), (NUMBER, Regression(), "mish")],
)
def test_outputs_equal_pytorch(targets, task, activation, filled):
    model = filled(lambda rngs: RealMLP((6, 4), spec=spec_with(targets, task), rngs=rngs))
    model.eval()
    found = model(jnp.asarray(X), mask=None, rngs=None)
    weights = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    expected = forward(weights, X, getattr(torch.nn.functional, activation))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_it_begins_with_outputs_of_zero_and_parametric_activations_that_are_the_activation():
    model = RealMLP(spec=spec_with(NUMBER, Regression()), rngs=nnx.Rngs(0))
    model.eval()
    assert (model(jnp.asarray(X), mask=None, rngs=None) == 0).all()
    assert all((slope[...] == 1).all() for slope in model.slopes)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.5), (0.5, 0.5), (0.75, 0.25), (1.0, 0.0)])
def test_dropout_stays_for_half_of_the_run_and_then_falls_to_zero(progress, share):
    dropout = CurvedDropout(0.5, "flat_cosine")
    setattr(dropout, PROGRESS, nnx.Variable(jnp.float32(progress)))
    found = dropout(jnp.ones((200, 200)), rngs=nnx.Rngs(dropout=0))
    assert abs(float((found == 0).mean()) - share) < 0.02 and abs(float(found.mean()) - 1) < 0.02
    dropout.deterministic = True
    assert (dropout(jnp.ones((2, 2)), rngs=nnx.Rngs(dropout=0)) == 1).all()

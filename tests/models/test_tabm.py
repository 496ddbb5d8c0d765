"""TabM against one PyTorch network per member in float64; loss and predictions of the members."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dltrain import losses
from dltrain.build.objective import mean_loss
from dltrain.models.embeddings import Embedding
from dltrain.models.tabm import TabM
from dltrain.tasks import Binary, Classification, Multilabel, Regression
from dltrain.types import Feature, Kind, Spec

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3)).astype(np.float32)
SPEC = Spec(
    {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
    {"y": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c"))},
    Classification(),
)


@pytest.mark.parametrize("mini", [True, False])
def test_each_member_is_a_network_of_its_own_in_pytorch(mini, filled):
    torch = pytest.importorskip("torch")
    model = filled(lambda rngs: TabM((6, 4), spec=SPEC, rngs=rngs, k=3, mini=mini, embedding=Embedding.NONE))
    model.eval()
    found = model(jnp.asarray(X), mask=None, rngs=None)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    w = jax.tree.map(lambda a: torch.tensor(np.asarray(a, np.float64)), params)
    for member in range(3):
        x = torch.tensor(X, dtype=torch.float64) * w["scale"][member]
        for layer in w["hidden"].values():
            own = {name: values if mini or name == "kernel" else values[member] for name, values in layer.items()}
            x = (x * own.get("scale_in", 1)) @ own["kernel"] * own.get("scale_out", 1) + own["bias"]
            x = torch.relu(x)
        expected = x @ w["head"]["kernel"][member] + w["head"]["bias"][member]
        np.testing.assert_allclose(found[:, member], expected.numpy(), rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_mean_of_the_losses_of_the_members_and_not_the_loss_of_the_mean():
    outputs, labels = jnp.asarray(RNG.normal(size=(5, 4, 3)) * 3), jnp.asarray(RNG.integers(0, 3, 5))
    batch = {"targets": labels, "mask": jnp.ones(5, bool)}
    found = mean_loss(losses.cross_entropy, outputs, batch)
    each = np.stack([losses.cross_entropy(outputs[:, i], batch) for i in range(4)])
    np.testing.assert_allclose(found, each.mean(0), rtol=1e-6)
    assert (np.asarray(found) > np.asarray(losses.cross_entropy(Classification().combine(outputs), batch))).all()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize(
    ("task", "probabilities", "size"),
    [
        (Classification(), lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True), 3),
        (Binary(), sigmoid, 1),
        (Multilabel(), sigmoid, 4),
    ],
)
def test_a_prediction_is_the_mean_of_the_probabilities(task, probabilities, size):
    outputs = RNG.normal(size=(5, 7, size)) * 3
    found = np.asarray(task.combine(jnp.asarray(outputs)), np.float64)
    np.testing.assert_allclose(probabilities(found), probabilities(outputs).mean(1), rtol=1e-5)
    assert np.isfinite(task.combine(jnp.full((2, 7, size), 1e4))).all()


def test_a_predicted_number_is_the_mean():
    outputs = RNG.normal(size=(5, 7, 2))
    np.testing.assert_allclose(Regression().combine(jnp.asarray(outputs)), outputs.mean(1), rtol=1e-5, atol=1e-6)

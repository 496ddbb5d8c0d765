"""The U-Net computes what PyTorch's functions compute with the same weights."""

import jax
import numpy as np
import pytest
from flax import nnx

from dltrain.models.layers import Norm
from dltrain.models.unet import UNet
from dltrain.tasks import Classification, Segmentation
from dltrain.types import Feature, Kind, Spec

PIXELS = Spec(
    {"image": Feature(Kind.IMAGE, (4, 8, 2), "float32")},
    {"target": Feature(Kind.CATEGORY, (4, 8), "int32", vocabulary=("a", "b", "c"))},
    Segmentation(),
)
X = np.random.default_rng(0).normal(size=(2, 4, 8, 2)).astype(np.float32)


def in_torch(params, x):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def block(p, x):
        for name, c in p["convolutions"].items():
            x = f.conv2d(x, c["kernel"].permute(3, 2, 0, 1), c["bias"], padding=1)
            if "norms" in p:
                x = f.batch_norm(x, None, None, p["norms"][name]["scale"], p["norms"][name]["bias"], training=True)
            x = f.relu(x)
        return x

    kept, levels = [], list(params["down"].values())
    for p in levels[:-1]:
        kept.append(block(p, x))
        x = f.max_pool2d(kept[-1], 2)
    x = block(levels[-1], x)
    for larger, p in zip(params["larger"].values(), params["up"].values(), strict=True):
        up = f.conv_transpose2d(x, larger["kernel"].permute(2, 3, 0, 1), larger["bias"], stride=2)
        x = block(p, torch.cat([kept.pop(), up], 1))
    return x.permute(0, 2, 3, 1) @ params["head"]["kernel"] + params["head"]["bias"]


@pytest.mark.parametrize(
    "options",
    [
        {"channels": (2, 3)},
        pytest.param({"channels": (2, 3, 4), "norm": Norm.NONE}, marks=pytest.mark.slow),
        pytest.param({"channels": (2, 3, 4)}, marks=pytest.mark.slow),
    ],
)
def test_values_and_gradients_equal_torch(options, filled, equals_torch, x64):
    model = filled(lambda rngs: UNet(spec=PIXELS, rngs=rngs, **options), np.float64)
    model.train()
    equals_torch(model, X, in_torch)


def test_dropout_is_at_the_end_of_the_way_down(filled):
    model = filled(lambda rngs: UNet((2, 3, 4), spec=PIXELS, rngs=rngs, norm=Norm.NONE, dropout=0.5))
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == [(2, 1, 2, 4)]


def test_data_that_cannot_be_halved_or_are_no_images_are_refused():
    with pytest.raises(ValueError, match=r"images of 4x8 cannot be halved 3 times; use fewer model\.channels"):
        UNet((1, 2, 3, 4), spec=PIXELS, rngs=nnx.Rngs(0))
    table = Spec(
        {"numbers": Feature(Kind.NUMBERS, (4,), "float32")},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b"))},
        Classification(),
    )
    with pytest.raises(ValueError, match="needs images with a class for each pixel, but this data is a table"):
        UNet(spec=table, rngs=nnx.Rngs(0))

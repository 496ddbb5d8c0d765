"""The residual networks equal PyTorch's with the same weights, and have the published numbers of parameters."""

import jax
import numpy as np
import pytest
from few import few
from flax import nnx

from dltrain.build.instantiate import build
from dltrain.composition.compose import compose_words
from dltrain.config.schema import engine_keys
from dltrain.engine.state import split_module
from dltrain.models.resnet import ResNet, Shortcut
from dltrain.tasks import Binary, Classification
from dltrain.tree import path_name
from dltrain.types import Feature, Kind, Spec

TEN = tuple("abcdefghij")
CIFAR = Spec(
    {"image": Feature(Kind.IMAGE, (32, 32, 3), "uint8")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=TEN)},
    Classification(),
)
PICTURES = Spec(
    {"image": Feature(Kind.IMAGE, (7, 6, 2), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=tuple("abc"))},
    Classification(),
)
X = np.random.default_rng(0).normal(size=(5, 7, 6, 2)).astype(np.float32)
PUBLISHED = {"resnet20": "0.27", "resnet32": "0.46", "resnet56": "0.85", "resnet18": "11.17"}  # millions


def torch_resnet(torch, channels, blocks, shortcut, depth, classes):
    """The network as a PyTorch programmer writes it, with attributes named as here."""
    nn, relu, pad = torch.nn, torch.nn.functional.relu, torch.nn.functional.pad

    class Block(nn.Module):
        def __init__(self, depth, out, stride):
            super().__init__()
            self.first, self.first_norm = nn.Conv2d(depth, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
            self.second, self.second_norm = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
            self.other, self.stride, self.new = stride > 1 or depth != out, stride, out - depth
            if self.other and shortcut is Shortcut.PROJECT:
                self.project, self.project_norm = nn.Conv2d(depth, out, 1, stride, bias=False), nn.BatchNorm2d(out)

        def forward(self, x):
            y = self.second_norm(self.second(relu(self.first_norm(self.first(x)))))
            if self.other and shortcut is Shortcut.PROJECT:
                x = self.project_norm(self.project(x))
            elif self.other:
                x = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
            return relu(x + y)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.stem_norm = (
                nn.Conv2d(depth, channels[0], 3, 1, 1, bias=False),
                nn.BatchNorm2d(channels[0]),
            )
            before, strides = (channels[0], *channels), [1] + [2] * len(channels)
            pairs = [(s, n) for s, count in enumerate(blocks) for n in range(count)]
            self.blocks = nn.Sequential(
                *(
                    Block(*((channels[s], channels[s], 1) if n else (before[s], channels[s], strides[s])))
                    for s, n in pairs
                )
            )
            self.head = nn.Linear(channels[-1], classes)

        def forward(self, x):
            return self.head(self.blocks(relu(self.stem_norm(self.stem(x)))).mean((2, 3)))

    return Net()


def torch_name(name):
    *where, last = name.split(".")
    return ".".join(
        [
            *where,
            {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}.get(last, last),
        ]
    )


def turned(array):
    """A kernel in PyTorch's order of axes."""
    return np.asarray(array).transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[np.ndim(array)])


def named(tree):
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


@few("training", [True, False], 1, ids=["train", "eval"])
@pytest.mark.parametrize("shortcut", Shortcut)
def test_values_and_gradients_equal_torch(shortcut, training, filled, differentiated, close, x64):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    channels, blocks = (3, 5), (2, 1)
    # In float32 a gradient is 1.4e-5 away.
    model = filled(lambda rngs: ResNet(channels, blocks, spec=PICTURES, rngs=rngs, shortcut=shortcut), np.float64)
    model.train() if training else model.eval()
    theirs = torch_resnet(torch, channels, blocks, shortcut, 2, 3).train(training).double()
    _, params, rest = split_module(model)
    state = {
        torch_name(n): torch.from_numpy(turned(leaf).copy()) for n, leaf in (named(params) | named(rest)).items()
    }
    assert {n for n in theirs.state_dict() if "tracked" not in n} == set(state)
    theirs.load_state_dict(state, strict=False)  # all but the counts of batches
    outputs, gradients = differentiated(model, X.astype(np.float64))
    expected = theirs(torch.from_numpy(X).double().permute(0, 3, 1, 2))
    expected.square().sum().backward()
    close(outputs, expected.detach().numpy())
    grads = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    assert len(grads) == len(named(gradients))
    for name, found in named(gradients).items():
        close(turned(found), grads[torch_name(name)], name)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.slow
def test_a_choice_has_as_many_parameters_as_published(name):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference: pip install '.[reference]'")
    node = compose_words(f"model={name}").config["model"]
    node = {key: value for key, value in node.items() if key not in engine_keys("model")}
    model = nnx.eval_shape(lambda: build(node, path="model", spec=CIFAR, rngs=nnx.Rngs(0)))
    found = sum(leaf.size for leaf in jax.tree.leaves(split_module(model)[1]))
    with torch.device("meta"):
        net = torch_resnet(torch, node["channels"], node["blocks"], Shortcut(node["shortcut"]), 3, 10)
    assert found == sum(p.numel() for p in net.parameters())
    assert f"{found / 1e6:.2f}" == PUBLISHED[name]


def test_what_does_not_fit_is_refused():
    table = Spec(
        {"numbers": Feature(Kind.NUMBERS, (3,), "float32")},
        {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("no", "yes"))},
        Binary(),
    )

    def make(*sizes, spec=PICTURES, **options):
        nnx.eval_shape(lambda: ResNet(*sizes, spec=spec, rngs=nnx.Rngs(0), **options))

    with pytest.raises(ValueError, match=r"needs images, but this data is a table of shape \(3,\); try model=mlp"):
        make(spec=table)
    with pytest.raises(ValueError, match=r"channels=\[2, 3\] blocks=\[1\]: both need one entry per stage"):
        make((2, 3), (1,))
    with pytest.raises(
        ValueError, match=r"shortcut=pad cannot reduce the number of channels.* try shortcut=project"
    ):
        make((3, 2), (1, 1))
    make((3, 2), (1, 1), shortcut=Shortcut.PROJECT)


def test_dropout_is_before_the_output(filled):
    model = filled(lambda rngs: ResNet((2, 3), (1, 1), spec=PICTURES, rngs=rngs, dropout=0.5))
    model.eval()  # so that batch norm writes nothing
    assert model.dropout.rate == 0.5
    calls = []
    model.dropout = lambda x, rngs: (calls.append(x.shape), x)[1]
    jax.eval_shape(lambda: model(X, mask=None, rngs=None))
    assert calls == [(5, 3)]

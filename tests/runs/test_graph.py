"""The graph tab's drawing of a model: the data flow of its calls, with skips, branches and repeated modules."""

import jax
import jax.numpy as jnp
import pytest
from few import few
from flax import nnx

from dltrain.build.parts import assemble
from dltrain.composition.compose import compose_words
from dltrain.engine.state import trace_module
from dltrain.models.unet import UNet
from dltrain.runs.graph import graph_def
from dltrain.tasks import Classification, Segmentation
from dltrain.types import Feature, Kind, Spec

pytestmark = pytest.mark.usefixtures("unoptimised")

SPEC = Spec(
    {"image": Feature(Kind.IMAGE, (8, 8, 4), "float32")},
    {"target": Feature(Kind.CATEGORY, (), "int32", vocabulary=("a", "b", "c"))},
    Classification(),
)
PIXELS = Spec(
    SPEC.inputs, {"target": Feature(Kind.CATEGORY, (8, 8), "int32", vocabulary=("a", "b"))}, Segmentation()
)


def graph_of(make, spec=SPEC):
    """Name -> node, of a model that is traced, not computed."""
    return {
        node.name: node for node in graph_def(trace_module(lambda rngs: make(spec=spec, rngs=rngs))[0], spec).node
    }


def edges(nodes) -> dict:
    return {name: list(node.input) for name, node in nodes.items()}


class Block(nnx.Module):
    def __init__(self, features: int, rngs: nnx.Rngs) -> None:
        self.norm = nnx.BatchNorm(features, rngs=rngs)
        self.conv = nnx.Conv(features, features, (3, 3), rngs=rngs)

    def __call__(self, x):
        return x + nnx.relu(self.conv(self.norm(x)))


class Net(nnx.Module):
    """Two residual blocks, a layer that is called twice, one that is never called, and a parameter of its own."""

    def __init__(self, *, spec, rngs):
        self.head = nnx.Linear(4, spec.outputs, rngs=rngs)
        self.blocks = nnx.List([Block(4, rngs), Block(4, rngs)])
        self.twice = nnx.Linear(4, 4, rngs=rngs)
        self.never = nnx.Linear(4, 4, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(4))

    def __call__(self, inputs, *, mask, rngs):
        x = inputs
        for block in self.blocks:
            x = block(x)
        x = self.twice(self.twice(x)).mean((1, 2))
        return self.head(x * self.scale[...][None])


def test_edges_follow_the_calls_and_not_the_constructor():
    assert edges(graph_of(Net)) == {
        "inputs": [],
        "scale": [],
        "blocks.0/norm": ["inputs"],
        "blocks.0/conv": ["blocks.0/norm"],
        "blocks.0/relu": ["blocks.0/conv"],
        "blocks.0/add": ["inputs", "blocks.0/relu"],
        "blocks.1/norm": ["blocks.0/add"],
        "blocks.1/conv": ["blocks.1/norm"],
        "blocks.1/relu": ["blocks.1/conv"],
        "blocks.1/add": ["blocks.0/add", "blocks.1/relu"],
        "twice": ["blocks.1/add"],
        "twice_call2": ["twice"],
        "reduce_sum": ["twice_call2"],
        "div": ["reduce_sum"],
        "mul": ["div", "scale"],
        "head": ["mul"],
        "outputs": ["head"],
    }


def test_nodes_have_class_shapes_and_parameters():
    nodes = graph_of(Net)
    norm = nodes["blocks.1/norm"]
    assert norm.op == "BatchNorm" and norm.attr["class"].s == b"flax.nnx.nn.normalization.BatchNorm"
    assert (norm.attr["scale"].s, norm.attr["mean"].s) == (b"Param (4,)", b"BatchStat (4,)")
    assert norm.attr["parameters"].i == 8  # scale and bias, not the statistics
    assert (nodes["scale"].op, nodes["scale"].attr["parameters"].i) == ("Param", 4)
    (shape,) = nodes["blocks.0/conv"].attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [-1, 8, 8, 4]


def test_a_unet_has_its_skips():
    found = edges(graph_of(lambda **given: UNet((2, 4), **given), PIXELS))
    (joined,) = (name for name in found if name.startswith("concatenate"))
    last = [next(n for n in found if n.startswith(f"{part}/relu_")) for part in ("down.0", "down.1")]
    assert found[joined] == [last[0], "larger.0"]
    assert found["larger.0"] == [last[1]]
    assert found["max_pool"] == [last[0]] and found["up.0/convolutions.0"] == [joined]
    assert found["outputs"] == ["head"]


def test_a_node_comes_after_those_that_it_needs():
    found = edges(graph_of(lambda **given: UNet((2, 4), **given), PIXELS))
    known = set()
    for name, sources in found.items():
        assert set(sources) <= known, name
        known.add(name)


@few(
    "words",
    [
        ("data=digits", "model=lstm"),
        ("data=digits", "model=attention_lstm"),
        ("data=digits", "model=gan"),
        ("data=digits", "model=rbm"),
        ("data=reverse", "model=seq2seq_transformer"),
        ("data=digits", "model=resnet20", "model.remat=true"),
    ],
    4,
)
def test_models_of_every_kind_have_a_connected_graph(words):
    parts = assemble(compose_words(*words).config)
    nodes = {n.name: n for n in graph_def(trace_module(parts.make_model)[0], parts.spec).node}
    reached, ends = set(), ["outputs"]
    while ends:
        name = ends.pop()
        if name not in reached:
            reached.add(name)
            ends += nodes[name].input
    assert reached == set(nodes) and any(name.startswith("inputs") for name in nodes)
    assert sum(node.attr["parameters"].i for node in nodes.values()) > 0


def test_tracing_leaves_the_model_alone():
    model = Net(spec=SPEC, rngs=nnx.Rngs(0))
    graph_def(model, SPEC)
    assert type(model.head) is nnx.Linear and type(model.blocks[0]) is Block
    assert not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(nnx.state(model)))

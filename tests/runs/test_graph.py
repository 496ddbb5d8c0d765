"""The graph of a model: its nodes, their attributes, and their order."""

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain.runs.graph import graph_def


class Block(nnx.Module):
    def __init__(self, features: int, rngs: nnx.Rngs) -> None:
        self.norm = nnx.BatchNorm(features, rngs=rngs)
        self.conv = nnx.Conv(features, features, (3, 3), rngs=rngs)


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.blocks = nnx.List([Block(4, rngs), Block(4, rngs)])
        self.again = self.stem
        self.head = nnx.Linear(4, 10, rngs=rngs)


def made(make) -> nnx.Module:
    """The model as its constructor returns it, with tracers as values: nothing is computed or compiled."""
    models = []
    jax.eval_shape(lambda: models.append(make(nnx.Rngs(0))))
    return models[0]


def by_name(graph) -> dict:
    return {node.name: node for node in graph.node}


def test_modules_are_a_chain_in_the_order_of_the_constructor():
    graph = graph_def(made(Net), (28, 28, 1), (10,))
    names = [node.name for node in graph.node]
    inner = ["blocks/0/norm", "blocks/0/conv", "blocks/1/norm", "blocks/1/conv"]
    assert names == ["inputs", "stem", *inner, "head", "outputs"]
    assert [list(node.input) for node in graph.node] == [[], *([name] for name in names[:-1])]


def test_nodes_have_class_shapes_and_parameters():
    nodes = by_name(graph_def(made(Net), (28, 28, 1)))
    norm = nodes["blocks/1/norm"]
    assert norm.op == "BatchNorm" and norm.attr["class"].s == b"flax.nnx.nn.normalization.BatchNorm"
    assert (norm.attr["scale"].s, norm.attr["mean"].s) == (b"Param (4,)", b"BatchStat (4,)")
    assert norm.attr["parameters"].i == 8  # scale and bias, not the statistics
    assert nodes["stem"].attr["kernel"].s == b"Param (3, 3, 1, 4)"
    assert [dim.size for dim in nodes["inputs"].attr["shape"].shape.dim] == [-1, 28, 28, 1]


def test_parameters_of_all_nodes_are_those_of_the_model():
    model = made(Net)
    total = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert sum(node.attr["parameters"].i for node in graph_def(model).node) == total


def test_variables_of_a_box_have_a_separate_node():
    class Scaled(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.scale = nnx.Param(jnp.ones(7))
            self.dropout = nnx.Dropout(0.5)
            self.parts = nnx.Dict({"a/b": nnx.Linear(2, 2, rngs=rngs)})
            self.sequence = nnx.Sequential(nnx.Linear(2, 2, rngs=rngs), nnx.relu, nnx.Linear(2, 2, rngs=rngs))

    nodes = by_name(graph_def(made(Scaled)))
    assert list(nodes) == ["Scaled", "dropout", "parts/a.b", "sequence/layers/0", "sequence/layers/2"]
    assert nodes["Scaled"].attr["parameters"].i == 7


def test_module_whose_parts_are_drawn_elsewhere_is_a_node():
    class Holder(nnx.Module):
        def __init__(self, shared: nnx.Module) -> None:
            self.shared = shared

    class Pair(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.first = Holder(nnx.Linear(2, 2, rngs=rngs))
            self.second = Holder(self.first.shared)

    assert list(by_name(graph_def(made(Pair)))) == ["first/shared", "second"]


def test_model_of_one_layer_is_one_node():
    assert [node.name for node in graph_def(nnx.Linear(2, 3, rngs=nnx.Rngs(0))).node] == ["Linear"]


def test_abstract_models_are_drawn_as_real_ones():
    assert graph_def(made(lambda rngs: Block(2, rngs))) == graph_def(Block(2, nnx.Rngs(0)))

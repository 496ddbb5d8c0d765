"""The modules of an nnx model as a GraphDef, which the graph tab of TensorBoard draws.

Hand-written, since neither flax nor jax exports a GraphDef without TensorFlow.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from flax import nnx
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_FLOAT
from tensorboard.compat.proto.versions_pb2 import VersionDef


def graph_def(
    model: nnx.Module, inputs: tuple[int, ...] | None = None, outputs: tuple[int, ...] | None = None
) -> GraphDef:
    """Return `model` as a chain of its modules in the order in which its constructor set them.

    A module without submodules is a node; one with submodules is a box around theirs, with an additional node if it
    has variables. Nodes have the class, the shapes of the variables and the number of parameters. Only attributes
    are read, not `__call__`: branches are drawn one after the other, and a module that is used twice is drawn once.
    flax sorts the attributes in `nnx.merge` and `nnx.eval_shape`, so pass the model that the constructor returned;
    its values are not read, and may be tracers.

    Args:
      model: the model, as returned by its constructor.
      inputs: shape of one example of the inputs, for a first node.
      outputs: shape of one example of the outputs, for a last node.
    """
    nodes = []
    if inputs is not None:
        nodes.append(NodeDef(name="inputs", op="Placeholder", attr=_shape_attributes(inputs)))
    seen: set[int] = set()
    for path, module in _modules((), model, seen):
        name = "/".join(path) or type(model).__name__
        nodes.append(NodeDef(name=name, op=type(module).__name__, attr=_attributes(module)))
    if outputs is not None:
        nodes.append(NodeDef(name="outputs", op="Output", attr=_shape_attributes(outputs)))
    for before, node in pairwise(nodes):
        node.input.append(before.name)
    return GraphDef(node=nodes, versions=VersionDef(producer=22))


def _modules(
    path: tuple[str, ...], module: nnx.Module, seen: set[int]
) -> Iterator[tuple[tuple[str, ...], nnx.Module]]:
    """Yield the modules that become nodes, in the order of the attributes; `seen` has the ids of those visited."""
    seen.add(id(module))
    children = [(name, child) for name, child in _children(module) if id(child) not in seen]
    if not children or _variables(module):
        yield path, module
    for name, child in children:
        if id(child) not in seen:  # an earlier sibling may contain it, too
            yield from _modules((*path, name), child, seen)


def _children(node: object) -> Iterator[tuple[str, nnx.Module]]:
    """Yield the direct submodules with their names, also those in plain lists and dicts."""
    match node:
        case nnx.Module():
            items = vars(node).items()
        case list() | tuple():
            items = enumerate(node)
        case dict():
            items = node.items()
        case _:
            return
    for key, value in items:
        name = str(key).replace("/", ".")
        if name.startswith("_pytree__"):  # internal to flax
            continue
        if isinstance(value, nnx.Module):
            yield name, value
        else:
            yield from ((f"{name}/{below}", child) for below, child in _children(value))


def _variables(module: nnx.Module) -> dict[str, nnx.Variable]:
    """Return the variables of the module, without those of its submodules."""
    return {name: value for name, value in vars(module).items() if isinstance(value, nnx.Variable)}


def _attributes(module: nnx.Module) -> dict[str, AttrValue]:
    """Return the attributes that the graph tab lists for a selected node."""
    cls = type(module)
    attributes = {"class": AttrValue(s=f"{cls.__module__}.{cls.__qualname__}".encode())}
    parameters = 0
    for name, variable in _variables(module).items():
        shape = getattr(variable.get_raw_value(), "shape", None)
        if shape is None:
            continue
        attributes[name] = AttrValue(s=f"{type(variable).__name__} {tuple(shape)}".encode())
        if isinstance(variable, nnx.Param):
            parameters += int(np.prod(shape, dtype=np.int64))
    attributes["parameters"] = AttrValue(i=parameters)
    return attributes


def _shape_attributes(shape: tuple[int, ...]) -> dict[str, AttrValue]:
    """Return the attributes of the first or last node; the graph tab shows `_output_shapes` on the edge."""
    sizes = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in (-1, *shape)])
    return {
        "dtype": AttrValue(type=DT_FLOAT),
        "shape": AttrValue(shape=sizes),
        "_output_shapes": AttrValue(list=AttrValue.ListValue(shape=[sizes])),
    }

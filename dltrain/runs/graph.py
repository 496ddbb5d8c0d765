"""The data flow of a model as a GraphDef, which the graph tab of TensorBoard draws.

Hand-written, since neither flax nor jax exports a GraphDef without TensorFlow. The model is traced with shapes.
Each call of an innermost module is one node, whatever it computes; what is computed between them is a node for each
operation. Modules that contain others are boxes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef

from dltrain.models.observe import observe
from dltrain.ops import lowering
from dltrain.types import Spec

MARK = "module:"  # begins the scopes that name calls of modules
UNSEEN = ("convert_element_type", "reshape", "broadcast_in_dim", "squeeze", "expand_dims", "copy", "stop_gradient")
"""Operations that only pass values on: no node is drawn."""
NAMES = {"dot_general": "matmul", "reduce_window_max": "max_pool", "reduce_window_sum": "sum_pool"}
"""Names that users know better than those of jax."""


def graph_def(model: nnx.Module, spec: Spec) -> GraphDef:
    """Return the data flow of `model` in evaluation mode, for a batch of one example; its values are not read.

    Nodes of modules have the class, the shapes of the variables and the number of parameters. A module that is
    called twice is drawn twice. Loops are drawn once. What does not lead to the outputs is left out.
    """
    graphdef, state = nnx.split(model)
    paths, values = zip(*flat, strict=True) if (flat := list(nnx.to_flat_state(state))) else ((), ())
    calls = _Calls()

    def call(values: Sequence[Any], inputs: Any) -> Any:
        copy = nnx.merge(graphdef, nnx.from_flat_state(list(zip(paths, values, strict=True))))
        copy.eval()
        observe(copy, calls.named, containers=True)
        return copy(inputs, mask=None, rngs=None)

    with lowering.stock():
        closed = jax.make_jaxpr(call)(values, spec.example())
    flow = _Flow(calls.modules)
    flow.begin(closed.jaxpr.invars, list(zip(paths, values, strict=True)), spec)
    flow.add(closed.jaxpr, ())
    return flow.graph(closed.jaxpr.outvars)


@dataclass
class _Calls:
    """Names the calls of modules by scopes, which the equations of a jaxpr have."""

    modules: dict[str, nnx.Module] = field(default_factory=dict)  # those that contain no other, by box
    counts: dict[str, int] = field(default_factory=dict)
    running: list[tuple[str, str]] = field(default_factory=list)  # the calls around this one: module and box

    def named(self, name: str, module: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        innermost = next((False for path, _ in nnx.iter_modules(module) if path), True)

        def scoped(*args: Any, **kwargs: Any) -> Any:
            around, inside = next((c for c in reversed(self.running) if name.startswith(f"{c[0]}.")), ("", ""))
            box = _box([*([inside] if inside else []), *name.removeprefix(f"{around}.").split(".")])
            number = self.counts[box] = self.counts.get(box, 0) + 1
            box += f"_call{number}" if number > 1 else ""
            if innermost:
                self.modules[box] = module
            self.running.append((name, box))
            try:
                with jax.named_scope(MARK + box):
                    return call(*args, **kwargs)
            finally:
                self.running.pop()

        return scoped


@dataclass
class _Node:
    """A node while the graph is made; its inputs are names of nodes, in the order in which they were found."""

    op: str
    inputs: dict[str, None] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    attributes: dict[str, AttrValue] = field(default_factory=dict)


class _Flow:
    """Nodes and edges, collected from the equations of a jaxpr."""

    def __init__(self, modules: Mapping[str, nnx.Module]) -> None:
        self._modules, self._nodes = modules, dict[str, _Node]()
        self._made: dict[Any, tuple[str, ...]] = {}  # variable of a jaxpr -> the nodes it comes from

    def begin(self, invars: Sequence[Any], variables: Sequence[tuple[tuple, Any]], spec: Spec) -> None:
        """Make nodes of the inputs, and of parameters that a module with submodules uses itself."""
        left = list(invars)
        for path, variable in variables:
            for _ in jax.tree.leaves(variable):
                var, name = left.pop(0), _box([str(part) for part in path])
                if name.rpartition("/")[0] in self._modules or not isinstance(variable, nnx.Param):
                    continue
                self._nodes[name] = _Node("Param", shape=var.aval.shape, attributes=_counted([(name, variable)]))
                self._made[var] = (name,)
        names = list(spec.inputs) if len(spec.inputs) > 1 else [""]
        for name, var in zip(sorted(names), left, strict=True):
            name = f"inputs/{name}" if name else "inputs"
            self._nodes[name] = _Node("Placeholder", shape=var.aval.shape)
            self._made[var] = (name,)

    def add(self, jaxpr: Any, boxes: tuple[str, ...]) -> None:
        """Add the equations of a jaxpr; `boxes` are the modules around it, from the outermost."""
        for equation in jaxpr.eqns:
            within = (*boxes, *_boxes(equation))
            box = within[-1] if within else ""
            inner = _inlined(equation)
            if inner is not None and box not in self._modules:
                body, given = inner
                for var, source in zip(body.invars, given, strict=True):
                    self._made[var] = self._of(source)
                self.add(body, within)
                for var, source in zip(equation.outvars, body.outvars, strict=False):
                    self._made[var] = self._of(source)
                continue
            sources = tuple(dict.fromkeys(name for var in equation.invars for name in self._of(var)))
            if not sources and box not in self._modules:
                continue  # a constant, or noise
            passed = box not in self._modules and _name(equation) in UNSEEN
            made = sources if passed else (self._node(equation, box, sources),)
            self._made |= dict.fromkeys(equation.outvars, made)

    def graph(self, outvars: Sequence[Any]) -> GraphDef:
        """Return the nodes that lead to the outputs."""
        last = _Node("Output", dict.fromkeys(name for var in outvars for name in self._of(var)))
        last.shape = outvars[0].aval.shape if len(outvars) == 1 else None
        self._nodes["outputs"] = last
        wanted, open_ends = set[str](), ["outputs"]
        while open_ends:
            name = open_ends.pop()
            if name not in wanted:
                wanted.add(name)
                open_ends += self._nodes[name].inputs
        nodes = [_finished(name, node) for name, node in self._nodes.items() if name in wanted]
        return GraphDef(node=nodes, versions=VersionDef(producer=22))

    def _of(self, var: Any) -> tuple[str, ...]:
        """Return the nodes that a variable comes from; none for a constant."""
        return () if hasattr(var, "val") else self._made.get(var, ())

    def _node(self, equation: Any, box: str, sources: Sequence[str]) -> str:
        """Return the node of an equation: that of its module, or a new one."""
        shape = equation.outvars[0].aval.shape
        if module := self._modules.get(box):
            node = self._nodes.setdefault(box, _Node(type(module).__mro__[1].__name__, attributes=_about(module)))
            node.inputs |= dict.fromkeys(name for name in sources if name != box)
            node.shape = shape  # of the last equation at last
            return box
        plain = NAMES.get(_name(equation), _name(equation))
        first = name = f"{box}/{plain}" if box else plain
        number = 1
        while name in self._nodes:
            number += 1
            name = f"{first}_{number}"
        self._nodes[name] = _Node(plain, dict.fromkeys(sources), shape)
        return name


def _box(parts: Sequence[str]) -> str:
    """Return the name of a node or box: one level for each attribute, with the numbers of lists after a dot."""
    name = ""
    for part in parts:
        name += f".{part}" if part.isdigit() and name else f"/{part}" if name else part
    return name


def _boxes(equation: Any) -> Iterator[str]:
    """Yield the modules whose call made an equation, from the outermost."""
    for scope in equation.source_info.name_stack.stack:
        if (name := getattr(scope, "name", "")).startswith(MARK):
            yield name.removeprefix(MARK)


def _name(equation: Any) -> str:
    """Return the name of a compiled function, or of a primitive."""
    inner = equation.params.get("call_jaxpr")
    if inner is not None and len(inner.eqns) == 1:  # a function with a gradient of its own
        return _name(inner.eqns[0])
    return str(equation.params.get("name") or equation.primitive.name).lstrip("_")


def _inlined(equation: Any) -> tuple[Any, Sequence[Any]] | None:
    """Return the jaxpr inside an equation, if modules are called in it, and what its variables get."""
    params, given = equation.params, equation.invars
    found = [*(params[name] for name in ("body_jaxpr", "jaxpr", "call_jaxpr", "fun_jaxpr") if name in params)]
    if "branches" in params:
        found, given = [max(params["branches"], key=lambda branch: len(branch.jaxpr.eqns))], given[1:]
    if "body_jaxpr" in params:
        given = given[params["cond_nconsts"] :]
    for closed in found:
        body = getattr(closed, "jaxpr", closed)
        if len(body.invars) == len(given) and _has_modules(body):
            return body, given
    return None


def _has_modules(jaxpr: Any) -> bool:
    return any(next(_boxes(equation), None) or _inlined(equation) for equation in jaxpr.eqns)


def _about(module: nnx.Module) -> dict[str, AttrValue]:
    """Return what the graph tab lists for a selected module."""
    cls = type(module).__mro__[1]  # without the subclass that observing adds
    variables = [(name, value) for name, value in vars(module).items() if isinstance(value, nnx.Variable)]
    return {"class": AttrValue(s=f"{cls.__module__}.{cls.__qualname__}".encode()), **_counted(variables)}


def _counted(variables: Sequence[tuple[str, nnx.Variable]]) -> dict[str, AttrValue]:
    """Return kind and shape of each variable, and the number of parameters."""
    attributes, parameters = dict[str, AttrValue](), 0
    for name, variable in variables:
        shape = getattr(variable.get_raw_value(), "shape", None)
        if shape is None:
            continue
        attributes[name] = AttrValue(s=f"{type(variable).__name__} {tuple(shape)}".encode())
        if isinstance(variable, nnx.Param):
            parameters += int(np.prod(shape, dtype=np.int64))
    return {**attributes, "parameters": AttrValue(i=parameters)}


def _finished(name: str, node: _Node) -> NodeDef:
    """Return a node with its shape, which the graph tab shows on the edges; the batch has any size."""
    attributes = dict(node.attributes)
    if node.shape is not None:
        sizes = node.shape if node.op == "Param" else (-1, *node.shape[1:])
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
        attributes["_output_shapes"] = AttrValue(list=AttrValue.ListValue(shape=[shape]))
    return NodeDef(name=name, op=node.op, input=list(node.inputs), attr=attributes)

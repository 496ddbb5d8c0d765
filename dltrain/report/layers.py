"""The layers of a model: shapes, parameters, and FLOPs counted by formula from the traced program."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
from flax import nnx

from dltrain.models.observe import Wrap, observe
from dltrain.ops import lowering
from dltrain.types import Spec


@dataclass(frozen=True)
class Layer:
    """A module that has parameters or computes something itself, as it was called."""

    name: str
    kind: str
    output: tuple[int, ...]  # shape without the batch axis
    parameters: int
    flops: int  # of the forward pass of one example


def layers(make_model: Callable[[nnx.Rngs], nnx.Module], spec: Spec) -> list[Layer]:
    """Trace the model in eval mode, and list its layers in the order of the calls."""
    found: list[Layer] = []

    def call(inputs: Any) -> Any:
        model = make_model(nnx.Rngs(0))
        model.eval()
        observe(model, _recording(found))
        return model(inputs, mask=None, rngs=None)

    with lowering.stock():  # count the FLOPs of the model, not of the lowering that is fast here
        whole = jax.make_jaxpr(call)(spec.example())
    parameters = sum(
        leaf.size for leaf in jax.tree.leaves(nnx.eval_shape(lambda: nnx.state(make_model(nnx.Rngs(0)), nnx.Param)))
    )
    left = (
        parameters - sum(layer.parameters for layer in found),
        flops(whole.jaxpr) - sum(layer.flops for layer in found),
    )
    if any(left):  # what the model computes outside its modules
        found.append(Layer("(other)", "", tuple(whole.out_avals[0].shape[1:]), *left))
    return found


def _recording(found: list[Layer]) -> Wrap:
    """Record shapes and FLOPs of each call, from a trace of that call alone."""

    def wrap(name: str, module: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        kind = type(module).__mro__[1]  # without the subclass that observing adds

        def noted(*args: Any, **kwargs: Any) -> Any:
            graphdef, state = nnx.split(module)

            def plain(x: Any) -> Any:
                copy = nnx.merge(graphdef, state, copy=True)
                return kind.__call__(copy, x, *args[1:], **kwargs)

            closed = jax.make_jaxpr(plain)(*args[:1])
            output = jax.tree.leaves(closed.out_avals)[0].shape[1:]
            parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
            if any(layer.name == name for layer in found):  # called again
                parameters = 0
            if parameters or flops(closed.jaxpr):
                found.append(Layer(name, kind.__name__, tuple(output), parameters, flops(closed.jaxpr)))
            return call(*args, **kwargs)

        return noted

    return wrap


def flops(jaxpr: Any) -> int:
    """Count the FLOPs of a jaxpr by formula: 2mnk for a product, loops times their length, the costliest branch."""
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * prod(equation.outvars[0].aval.shape) * prod(left[d] for d in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            outputs = params["dimension_numbers"].rhs_spec[0]
            per_output = prod(s for d, s in enumerate(kernel) if d != outputs)
            total += 2 * prod(equation.outvars[0].aval.shape) * per_output
        elif name == "cond":
            total += max(flops(branch.jaxpr) for branch in params["branches"])
        else:
            times = params.get("length", 1) if name == "scan" else 1
            total += times * sum(flops(inner) for inner in _inner(params))
    return total


def _inner(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if hasattr(item, "eqns"):
                found.append(item)
            elif hasattr(item, "jaxpr") and hasattr(item.jaxpr, "eqns"):
                found.append(item.jaxpr)
    return found

"""The exported function: inputs by name -> decisions by name, with weights and preprocessing inside.

It is traced with the lowerings of jax and a free batch dimension. Each call of a module has a scope with its name,
so that an operation that cannot be exported is found again in its layer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
from flax import nnx
from jax import export

from dltrain.errors import ConfigError
from dltrain.inference.bundle import Bundle
from dltrain.models.observe import observe
from dltrain.ops import lowering
from dltrain.tree import widened
from dltrain.types import Array, alone_or_named

LAYER = "layer:"  # begins the scopes that name calls of modules
BATCH = "b"  # name of the free dimension


@dataclass
class Calls:
    """Gives each call of a module a scope, and remembers the innermost one that failed."""

    failed: str = ""
    kinds: dict[str, str] = field(default_factory=dict)

    def wrap(self, name: str, module: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call of a module, in its scope; see `dltrain.models.observe.Wrap`."""
        self.kinds[name] = type(module).__mro__[1].__name__  # without the subclass that observing adds

        def scoped(*args: Any, **kwargs: Any) -> Any:
            try:
                with jax.named_scope(f"{LAYER}{name}"):
                    return call(*args, **kwargs)
            except Exception:
                self.failed = self.failed or self.described(name)
                raise

        return scoped

    def described(self, name: str) -> str:
        """Name a layer and its class."""
        return f"{name} ({self.kinds[name]})" if name in self.kinds else name

    def layers_with(self, jaxpr: Any, operation: str) -> list[str]:
        """List the layers in which an operation occurs, in order."""
        found = (scope for scope, equation in equations(jaxpr) if equation.primitive.name == operation)
        names = (scope.rpartition(LAYER)[2].split("/")[0] for scope in found if LAYER in scope)
        return [self.described(name) for name in dict.fromkeys(names)]


def make_function(bundle: Bundle, calls: Calls) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """Return the function of a model, of the arrays behind the host halves."""
    preprocess, precision, graph = bundle.preprocess, bundle.precision, bundle.graphs.eval
    decide = partial(bundle.spec.task.decide, spec=bundle.spec)

    @jax.jit
    def inner(params: Any, model_state: Any, inputs: dict[str, Array]) -> dict[str, Array]:
        model: Any = nnx.merge(graph, precision.cast_to_compute(params), model_state, copy=True)
        observe(model, calls.wrap, containers=True)
        with jax.named_scope(f"{LAYER}preprocessing"):
            scaled = preprocess.scaled({"inputs": alone_or_named(inputs)})["inputs"]
        outputs = widened(model(precision.cast_to_compute(scaled), mask=None, rngs=None))
        with jax.named_scope(f"{LAYER}units of the outputs"):
            outputs = preprocess.outputs(outputs)
        with jax.named_scope(f"{LAYER}decision"):
            return precision.cast_to_output(decide(outputs))

    # Weights are arguments: a module of constants would be changed in a trace of its own, which flax refuses.
    return lambda inputs: inner(bundle.params, bundle.model_state, inputs)


def input_shapes(bundle: Bundle) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the inputs of the exported function, with a free batch dimension."""
    (batch,) = export.symbolic_shape(BATCH)
    return {
        name: jax.ShapeDtypeStruct((batch, *feature.shape), jax.dtypes.canonicalize_dtype(feature.dtype))
        for name, feature in bundle.array_spec.inputs.items()
    }


def traced(bundle: Bundle) -> tuple[Any, Any, Calls]:
    """Trace the function; return its jaxpr, with flat inputs and outputs, their shapes by name, and the calls.

    Raises:
        ConfigError: a layer cannot be traced for any number of examples.
    """
    calls = Calls()
    function = make_function(bundle, calls)
    try:
        with lowering.stock():
            closed, shapes = jax.make_jaxpr(function, return_shape=True)(input_shapes(bundle))
    except Exception as error:
        raise not_exported(calls.failed, error) from error
    return closed, shapes, calls


def not_exported(layer: str, error: Exception, what: str = "") -> ConfigError:
    """Return the error that names the layer and the reason."""
    reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
    if "_DimExpr" in reason or "InconclusiveDimension" in type(error).__name__:
        reason += (
            "; the number of examples is not known here: write x.shape[0] instead of len(x), and no loop over it"
        )
    return ConfigError(f"export: {layer or 'the model'} cannot be exported{what}: {reason}")


def equations(jaxpr: Any, around: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the scope and each equation of a jaxpr, and those inside them."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        scope = f"{around}/{equation.source_info.name_stack}"
        yield scope, equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                    yield from equations(inner, scope)

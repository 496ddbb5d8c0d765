"""A model as a differentiable function of scaled numbers, and of the embeddings of tokens and levels.

Tokens and levels of categories have no gradient. Their layers' outputs have: those of `Embedding` and flax's
`Embed`, and the vectors of categories in `Vector`. These outputs are replaced by given arrays, the points.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dltrain.inference.bundle import Bundle
from dltrain.models.observe import observe, replace_method
from dltrain.models.steps import Embedding
from dltrain.models.vector import Vector
from dltrain.models.windows import RevIN
from dltrain.tree import Tree, widened
from dltrain.types import Array, Batch, Kind, by_name

CONTINUOUS = (Kind.NUMBERS, Kind.IMAGE, Kind.SEQUENCE)
TEXTS = (Kind.TOKENS, Kind.NGRAMS)
Points = dict[str, Any]
"""`inputs`: feature -> scaled values; `layers`: key of a call -> the layer's output, or a list of them."""
Found = dict[str, str]
"""Key of a layer's call -> the input that it stands for."""


@dataclass(frozen=True, eq=False)  # equal only to itself, so that compiled functions can be found by it
class ModelFunction:
    """What a model returns for points, weighted and summed to one number for each example, in float32.

    Attributes:
        bundle: the model.
        layers: the calls that points replace, and the inputs they stand for.
    """

    bundle: Bundle
    layers: Mapping[str, str]

    @cached_property
    def weights(self) -> tuple[Tree, Tree]:
        """The trained weights and the state of the model, in float32."""
        return widened(self.bundle.params), widened(self.bundle.model_state)

    def points(self, batch: Batch) -> tuple[Points, Array]:
        """Return the points of raw examples, and their outputs [B, ...]; see `outputs`."""
        with jax.default_matmul_precision("highest"):
            outputs, points = _run(self, *self.weights, batch)
            return points, outputs

    def __call__(self, points: Points, params: Tree, state: Tree, batch: Batch, chosen: Array) -> Array:
        """Return the sum of the outputs times `chosen`, [B, ...] each, for each example: [B]."""
        with jax.default_matmul_precision("highest"):
            outputs, _ = self.run(params, state, batch, points)
            return (outputs * chosen).reshape(len(outputs), -1).sum(1)

    def run(self, params: Tree, state: Tree, batch: Batch, points: Points | None) -> tuple[Array, Points]:
        """Return the outputs before the targets' scaling is undone, [B, ...], and the points.

        Classes have their logits here, and numbers are in scaled units.
        """
        preprocess = self.bundle.preprocess
        scaled = preprocess.scaled(batch)["inputs"]
        named = dict(by_name(scaled, self.bundle.spec.inputs))
        direct = {name: named[name] for name in named if self.bundle.spec.inputs[name].kind in CONTINUOUS}
        given = direct if points is None else points["inputs"]
        named |= given
        seen: dict[str, Any] = {}

        def take(key: str, call: Callable[[], Any], given_input: Any) -> Any:
            del given_input
            if key not in self.layers:
                return call()
            seen[key] = call() if points is None else points["layers"][key]
            return seen[key]

        model: Any = nnx.merge(self.bundle.graphs.eval, params, state, copy=True)
        _intercept(model, take)
        inputs = named if isinstance(scaled, Mapping) else next(iter(named.values()))
        outputs = widened(model(inputs, mask=batch["mask"], rngs=None))
        outputs = preprocess.final(outputs) if preprocess.final else outputs
        return outputs, {"inputs": given, "layers": seen}


def make_function(bundle: Bundle, batch: Batch) -> ModelFunction:
    """Find the layers that stand for tokens and levels, with the shapes of a raw batch."""
    found: Found = {}

    def look(params: Tree, state: Tree, batch: Batch) -> Array:
        scaled = bundle.preprocess.scaled(batch)["inputs"]
        named = dict(by_name(scaled, bundle.spec.inputs))

        def take(key: str, call: Callable[[], Any], given_input: Any) -> Any:
            if name := _feature_of(given_input, named, bundle):
                found[key] = name
            return call()

        model: Any = nnx.merge(bundle.graphs.eval, params, state, copy=True)
        _intercept(model, take)
        return widened(model(scaled, mask=batch["mask"], rngs=None))

    jax.eval_shape(look, bundle.params, bundle.model_state, batch)
    function = ModelFunction(bundle, found)
    try:
        jax.eval_shape(lambda *given: function.run(*given, None), *function.weights, batch)
    except jax.errors.UnexpectedTracerError:  # a layer is called inside of a loop or of vmap
        return ModelFunction(bundle, {})
    return function


def _intercept(model: nnx.Module, take: Callable[[str, Callable[[], Any], Any], Any]) -> None:
    """Let `take(key, call, input)` return what the layers of tokens and levels return."""
    calls: dict[str, int] = {}

    def key_of(name: str) -> str:
        calls[name] = calls.get(name, 0) + 1
        return name if calls[name] == 1 else f"{name}#{calls[name]}"

    def embedded(name: str, module: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(module, RevIN):  # training takes mean and deviation for constants; the output depends on them
            return lambda x, norm=module: norm.normalised(x, norm.statistics(x))
        if not isinstance(module, Embedding | nnx.Embed):
            return call
        return lambda tokens: take(key_of(name), lambda: call(tokens), tokens)

    def levels(name: str, module: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        del module
        return lambda input_name, feature, values: take(
            key_of(f"{name}:{input_name}"), lambda: call(input_name, feature, values), values
        )

    observe(model, embedded)
    replace_method(model, Vector, "level_vectors", levels)


def _feature_of(values: Any, named: Mapping[str, Any], bundle: Bundle) -> str | None:
    """Return the input that a layer is called with: the same array, or the only one of this shape."""
    discrete = {n: named[n] for n, f in bundle.spec.contents.items() if f.kind not in CONTINUOUS}
    for name, array in discrete.items():
        if values is array:
            return name
    alike = [name for name, array in discrete.items() if array.shape == jnp.shape(values)]
    return alike[0] if len(alike) == 1 else None


_run = jax.jit(lambda function, params, state, batch: function.run(params, state, batch, None), static_argnums=0)

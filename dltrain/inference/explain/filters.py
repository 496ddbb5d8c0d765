"""What the first layer of a model for images looks at: its weights, as images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from dltrain.inference.bundle import Bundle
from dltrain.models.observe import observe
from dltrain.tree import Tree, path_name
from dltrain.types import Kind


@dataclass(frozen=True)
class Filters:
    """Weights of the first layer.

    Attributes:
        layer: its name.
        weights: float32 [count, height, width, channels], in the channels of the image.
    """

    layer: str
    weights: np.ndarray


def first_filters(bundle: Bundle) -> Filters | None:
    """Return the kernels of the first convolution that sees the image, or the units of such a dense layer.

    None where the first layer is something else, or the image is not the only input.
    """
    spec = bundle.spec
    if len(spec.contents) != 1 or spec.input.kind is not Kind.IMAGE:
        return None
    name = _first_layer(bundle)
    weights = name and _as_images(_kernel(bundle, name), spec.input.shape)
    return None if name is None or not isinstance(weights, np.ndarray) else Filters(name, weights)


def _first_layer(bundle: Bundle) -> str | None:
    """Return the name of the first convolution or dense layer that is called; None if the model has none."""
    called: list[str] = []

    def note(name: str, layer: nnx.Module, call: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(layer, nnx.Conv | nnx.Linear):
            called.append(name)
        return call

    def apply(params: Tree, state: Tree, inputs: Any) -> Any:
        model: Any = nnx.merge(bundle.graphs.eval, params, state, copy=True)
        observe(model, note)
        return model(inputs, mask=None, rngs=None)

    jax.eval_shape(apply, bundle.params, bundle.model_state, bundle.spec.example())
    return called[0] if called else None


def _kernel(bundle: Bundle, name: str) -> np.ndarray:
    leaves = jax.tree_util.tree_leaves_with_path(bundle.params)
    (kernel,) = (leaf for path, leaf in leaves if path_name(path) in (f"{name}.kernel", f"{name}.kernel.value"))
    return np.asarray(kernel, np.float32)


def _as_images(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return a kernel [h, w, C, filters], or [H * W * C, units], as images; None if it is of another shape."""
    if kernel.ndim == 4 and kernel.shape[2] == shape[-1] and min(kernel.shape[:2]) > 1:
        return kernel.transpose(3, 0, 1, 2)
    if kernel.ndim == 2 and len(kernel) == np.prod(shape):
        return kernel.T.reshape(-1, *shape)
    return None

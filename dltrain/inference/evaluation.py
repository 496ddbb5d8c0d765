"""Evaluation of given examples with the engine's evaluator, compiled once for all of them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from dltrain.data.order import in_order, in_runs
from dltrain.engine.chunk import capacity
from dltrain.engine.evaluate import Evaluation, Evaluator
from dltrain.engine.feed import Streamed
from dltrain.inference.given import Given
from dltrain.tree import Tree
from dltrain.types import Kind, Spec


class GivenEvaluator:
    """Evaluator of arrays of raw examples; equal to a run's evaluation of a split."""

    def __init__(self, spec: Spec, batch_size: int, **parts: Any) -> None:
        """Prepare; compilation happens at the first call.

        Args:
            spec: the features of the arrays.
            batch_size: examples per batch.
            **parts: arguments of `Evaluator`: `graphs`, `loss`, `metrics`, `preprocess`, `precision`, `hidden`.
        """
        nothing = jax.tree.map(lambda f: np.zeros((1, *f.shape), f.dtype), spec.layout())
        self._spec, self._batch_size = spec, batch_size
        self._evaluator = Evaluator(feed=Streamed(Given(nothing, spec)), batch_size=batch_size, batches=1, **parts)

    def __call__(self, params: Tree, model_state: Tree, arrays: Mapping[str, Any]) -> Evaluation:
        """Evaluate `inputs`, `targets` and further arrays of the loss, [N, ...] each."""
        source, size = Given(arrays, self._spec), self._batch_size
        order: Callable[[np.ndarray, int], np.ndarray] = in_order
        if name := self._spec.find(Kind.POSITION):
            order = partial(in_runs, at=arrays["inputs"][name], length=self._spec.input.shape[0])
        feed = Streamed(source)
        room = min(-(-len(source) // size), capacity(feed.batch_bytes(size)))
        evaluator = self._evaluator.over(feed, batches=1 << (room - 1).bit_length(), order=order)
        return evaluator(params, model_state, np.arange(len(source), dtype=np.int32))

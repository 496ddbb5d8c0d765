"""Fits the steps of every feature on blocks of training examples."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dltrain.data.preprocess.lookup import Lookup
from dltrain.data.preprocess.pipeline import Preprocess
from dltrain.data.preprocess.scale import Scale, Scaler
from dltrain.data.preprocess.step import Chain, check_order, passed
from dltrain.types import Kind, Spec

Block = tuple[np.ndarray, np.ndarray]
"""Some examples: inputs [N, ...] and targets [N, ...]."""


def fit(
    inputs: np.ndarray, targets: np.ndarray, *, spec: Spec, scale: Scale, steps: Sequence[Any] = ()
) -> Preprocess:
    """Fit on the training examples: inputs [N, ...], targets [N, ...]; see `fit_blocks`."""
    return fit_blocks(lambda: [(inputs, targets)], spec=spec, scale=scale, steps=steps)


def fit_blocks(
    read: Callable[[], Iterable[Block]], *, spec: Spec, scale: Scale, steps: Sequence[Any] = ()
) -> Preprocess:
    """Fit the steps of `data.preprocess` and then the data's own scaling, each in one pass over the blocks.

    A table has its own shift and scale for each column, an image for each channel. A constant column is only
    shifted. Tokens are looked up and not scaled. Targets of a regression are standardised with `scale=standard`,
    and left alone otherwise.

    Args:
        read: begins a pass over the training examples; of padded sequences it gives the valid steps, [N, F].
        spec: what the source delivers.
        scale: the data's own scaling (`data.scale`).
        steps: steps of the inputs that come before it.
    """
    check_order(steps, "data.preprocess")
    inputs = _fit_chain([*steps, *_own_steps(spec, scale)], lambda: (block[0] for block in read()))
    standardised = spec.task.standardizes_targets and scale is Scale.STANDARD
    of_targets = [Scaler(Scale.STANDARD)] if standardised and spec.input.kind is not Kind.TOKENS else []
    targets = {name: _fit_chain(of_targets, lambda: (block[1] for block in read())) for name in spec.targets}
    return Preprocess({spec.input_name: inputs}, targets, reconstructs=spec.task.targets_are_inputs)


def _own_steps(spec: Spec, scale: Scale) -> list[Any]:
    if spec.input.kind is Kind.TOKENS:
        return [Lookup(spec.input.vocabulary)]
    # The channels of an image keep their proportion, so that no colour is shifted.
    return [Scaler(scale, together=spec.input.kind is Kind.IMAGE and spec.input.dtype == "uint8")]


def _fit_chain(steps: Sequence[Any], read: Callable[[], Iterable[np.ndarray]]) -> Chain:
    fitted: list[Any] = []
    for step in steps:
        fitted.append(step.fit(passed(fitted, read()) if fitted else read()))
    return Chain(tuple(fitted))

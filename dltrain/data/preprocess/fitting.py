"""Fits the steps of every feature on blocks of training examples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dltrain.data.preprocess.bins import QuantileBins
from dltrain.data.preprocess.bounds import Bounds
from dltrain.data.preprocess.lookup import Lookup
from dltrain.data.preprocess.offset import Offset
from dltrain.data.preprocess.pipeline import Preprocess
from dltrain.data.preprocess.quantile import QuantileScaler
from dltrain.data.preprocess.robust import RobustScaler
from dltrain.data.preprocess.scale import Scale, Scaler
from dltrain.data.preprocess.step import Chain, check_order, passed
from dltrain.data.vocabulary import UNKNOWN_TOKEN
from dltrain.errors import ConfigError
from dltrain.types import Feature, Kind, Spec, by_name

Block = tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
"""Some examples: the inputs with content and the targets, by name, each [N, ...]."""


def fit(inputs: Any, targets: Any, *, spec: Spec, scale: Scale, steps: Sequence[Any] = ()) -> Preprocess:
    """Fit on the training examples: inputs [N, ...], targets [N, ...], or dicts by name; see `fit_blocks`."""
    block = by_name(inputs, spec.inputs), by_name(targets, spec.targets)
    return fit_blocks(lambda: [block], spec=spec, scale=scale, steps=steps)


def fit_blocks(
    read: Callable[[], Iterable[Block]],
    *,
    spec: Spec,
    scale: Scale,
    steps: Sequence[Any] = (),
    bins: bool = False,
    clamp: bool = False,
) -> Preprocess:
    """Fit the steps of `data.preprocess` and then the data's own scaling, each in one pass over the blocks.

    Each input has its own steps. A table has its own shift and scale for each column, an image for each channel.
    A constant column is only shifted. A column of float64 numbers with a large offset loses it on the host, before
    it becomes float32. Tokens are looked up, categories left alone. Targets of a regression are
    standardised with `scale=standard`, `robust` and `quantile`, and left alone otherwise.

    Args:
        read: begins a pass over the training examples; of padded sequences it gives the valid steps, [N, F].
        spec: what the source delivers.
        scale: the data's own scaling (`data.scale`).
        steps: steps of the input that come before it.
        bins: whether to fit bins of the scaled columns of numbers, for a model with piecewise linear embeddings.
        clamp: whether predictions of numbers stay between the smallest and the largest target (`data.clamp`).

    Raises:
        ConfigError: there are `steps`, but several inputs.
    """
    check_order(steps, "data.preprocess")
    if steps and len(spec.contents) > 1:
        raise ConfigError(
            f"data.preprocess: applies to data with one input, and this has {', '.join(spec.contents)}; "
            "leave it out, and prepare them in the source"
        )

    def fitted(wanted: Sequence[Any], side: int, name: str) -> Chain:
        return _fit_chain(wanted, lambda: (block[side][name] for block in read()))

    inputs = {}
    for name, feature in spec.contents.items():
        one_of_several = (
            feature.kind is Kind.IMAGE and len(spec.contents) > 1
        )  # columns are scaled by rank, not pixels
        chosen = Scale.STANDARD if one_of_several and scale.is_for_columns else scale
        own = [*_own_steps(feature, chosen, after=steps), *_bins(feature, bins)]
        inputs[name] = fitted([*steps, *own], 0, name)
    only_texts = all(_is_numbered(feature) for feature in spec.contents.values())
    standardised = spec.task.standardizes_targets and scale.standardizes_targets and not only_texts
    bounded = clamp and spec.task.target_kind is Kind.NUMBERS
    of_targets = [*([Bounds] if bounded else []), *([Scaler(Scale.STANDARD)] if standardised else [])]
    targets = {name: fitted(of_targets, 1, name) for name in spec.targets}
    return Preprocess(
        inputs, targets, reconstructs=spec.task.targets_are_inputs, quantiles=bool(spec.task.quantiles)
    )


def _own_steps(feature: Feature, scale: Scale, *, after: Sequence[Any]) -> list[Any]:
    if feature.kind in (Kind.CATEGORY, Kind.CATEGORIES, Kind.NGRAMS):
        return []
    if feature.kind is Kind.TOKENS:
        return [Lookup(feature.vocabulary)] if _is_numbered(feature) else []
    # The channels of an image keep their proportion, so that no colour is shifted.
    together = feature.kind is Kind.IMAGE and feature.dtype == "uint8"
    scaler = _scaler(scale, together)
    wide = feature.kind is Kind.NUMBERS and feature.dtype == "float64" and scale is not Scale.NONE and not after
    return [Offset, scaler] if wide else [scaler]


def _scaler(scale: Scale, together: bool) -> Any:
    if scale is Scale.QUANTILE:
        return QuantileScaler()
    return RobustScaler(together) if scale is Scale.ROBUST else Scaler(scale, together)


def _is_numbered(feature: Feature) -> bool:
    """Tell whether the source numbered tokens itself; one with an unknown token is that of an encoder."""
    return feature.kind is Kind.TOKENS and UNKNOWN_TOKEN not in feature.vocabulary


def _bins(feature: Feature, wanted: bool) -> list[Any]:
    return [QuantileBins()] if wanted and feature.kind is Kind.NUMBERS else []


def _fit_chain(steps: Sequence[Any], read: Callable[[], Iterable[np.ndarray]]) -> Chain:
    fitted: list[Any] = []
    for step in steps:
        found = step.fit(passed(fitted, read()) if fitted else read())
        fitted += [] if found is None else [found]
    return Chain(tuple(fitted))

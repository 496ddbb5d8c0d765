"""Attributions of tokens and levels where no gradient can be had: one at a time is replaced by a neutral one."""

from typing import Any

import numpy as np

from dltrain.data.vocabulary import PAD, UNKNOWN, UNKNOWN_TOKEN
from dltrain.inference.explain.function import ModelFunction
from dltrain.types import Batch, Feature, Kind, by_name


def neutral_of(feature: Feature) -> tuple[int, str]:
    """Return the number that replaces a token or level, and what it stands for."""
    if feature.kind is Kind.TOKENS and UNKNOWN_TOKEN in feature.vocabulary:
        return UNKNOWN, "an unknown token"
    if feature.kind in (Kind.TOKENS, Kind.NGRAMS):
        return PAD, "padding"
    return 0, "an unknown level" if feature.kind is Kind.CATEGORIES else "the first class"


def replacing(function: ModelFunction, batch: Batch, name: str, chosen: np.ndarray) -> np.ndarray:
    """Return how much the explained output falls when each element of an input is replaced, float64 [B, ...].

    Args:
        function: the model.
        batch: raw examples.
        name: the input, int [B, ...].
        chosen: the weights of the outputs that are explained, [B, ...].
    """
    spec = function.bundle.spec
    inputs = batch["inputs"]
    named = dict(by_name(inputs, spec.inputs))
    values, (neutral, _) = np.asarray(named[name]), neutral_of(spec.inputs[name])
    flat = values.reshape(len(values), -1)

    def explained(changed: np.ndarray) -> np.ndarray:
        given: Any = {**named, name: changed.reshape(values.shape)}
        given = given if isinstance(inputs, dict) else given[name]
        _, outputs = function.points({**batch, "inputs": given})
        return (np.asarray(outputs, np.float64) * chosen).reshape(len(values), -1).sum(1)

    plain, found = explained(flat), np.zeros(flat.shape)
    for place in range(flat.shape[1]):
        changed = flat.copy()
        changed[:, place] = neutral
        found[:, place] = plain - explained(changed)
    return found.reshape(values.shape)

"""Examples passed from Python instead of read from the run's data: checks, and batches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from dltrain.data.preprocess import Preprocess
from dltrain.data.vocabulary import PAD
from dltrain.errors import DataError
from dltrain.types import Feature, Kind, Spec, alone_or_named


@dataclass
class Given:
    """Source of examples in memory: random access to `inputs`, `targets` and further arrays of the loss."""

    arrays: Mapping[str, Any]
    spec: Spec
    fingerprint: str = ""
    published: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(jax.tree.leaves(self.arrays)[0])

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B]."""
        return jax.tree.map(lambda array: array[indices], dict(self.arrays))


def given_inputs(inputs: Any, spec: Spec, preprocess: Preprocess, *, without: str | None = None) -> Any:
    """Return inputs as the source of the run delivers them, checked: an array [N, ...], or a dict by name.

    Texts become tokens, padded to the length of the training examples, and their lengths are filled in.

    Args:
        inputs: raw examples: an array or a list, or for several features a dict of them by name; of a table its
            columns.
        spec: the run's features after the host part of the preprocessing.
        preprocess: the fitted steps, whose host part is applied.
        without: a feature that may be missing.

    Raises:
        DataError: a feature is missing, is not known, or has another shape or dtype.
    """
    features = {name: feature for name, feature in spec.inputs.items() if name != without}
    inputs = preprocess.encode(inputs)
    named = dict(inputs) if isinstance(inputs, Mapping) else {spec.input_name: inputs}
    texts = [name for name, f in features.items() if f.kind is Kind.TOKENS and _are_texts(named.get(name))]
    length = spec.find(Kind.LENGTH)
    if unknown := [name for name in named if name not in spec.inputs]:
        raise DataError(f"inputs: {unknown[0]} is not known; the inputs of the model are {', '.join(spec.inputs)}")
    named = preprocess.host(named)
    for name in texts:
        if length in features and length not in named:
            named[length] = (named[name] != PAD).sum(1).astype(features[length].dtype)
        named[name] = _padded(named[name], features[name], name)
    if missing := [name for name in features if name not in named]:
        raise DataError(f"inputs: {', '.join(missing)} is missing; give a dict with {', '.join(features)}")
    found = {name: fitting(named[name], feature, f"inputs: {name}") for name, feature in features.items()}
    return found if len(spec.inputs) > 1 else next(iter(found.values()))


def given_targets(targets: Any, for_loss: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """Return `targets` and further arrays of the loss as the source of the run delivers them, checked.

    Classes may be given by their names.

    Raises:
        DataError: one is missing, or has another shape or dtype.
    """
    named = dict(targets) if isinstance(targets, Mapping) else {name: targets for name in spec.targets}
    if missing := [name for name in spec.targets if name not in named]:
        raise DataError(f"targets: {', '.join(missing)} is missing; give a dict with {', '.join(spec.targets)}")
    if missing := [name for name in spec.for_loss if name not in for_loss]:
        raise DataError(f"{', '.join(missing)}: missing; the training data has it for the loss")
    found = {
        name: fitting(_class_numbers(named[name], feature, name), feature, f"targets: {name}")
        for name, feature in spec.targets.items()
    }
    own = {name: fitting(for_loss[name], feature, name) for name, feature in spec.for_loss.items()}
    return {"targets": alone_or_named(found), **own}


def _class_numbers(targets: Any, feature: Feature, name: str) -> Any:
    """Return the numbers of classes that are given by name, int32 [N]; other targets stay as they are."""
    array = np.asarray(targets)
    if feature.kind is not Kind.CATEGORY or feature.shape or array.ndim != 1 or array.dtype.kind not in "UO":
        return targets
    number = {label: i for i, label in enumerate(feature.vocabulary)}
    for i, label in enumerate(array.tolist()):
        if label not in number:
            few = ", ".join(feature.vocabulary[:5]) + ", ..." * (len(feature.vocabulary) > 5)
            raise DataError(f"targets: {name} of example {i} is {label!r}, expected one of {few}")
    return np.array([number[label] for label in array.tolist()], np.int32)


def fitting(values: Any, feature: Feature, where: str) -> np.ndarray:
    """Return values as an array [N, ...] of the feature's dtype, or raise DataError naming what differs.

    Numbers are converted if that loses only precision (float64 to float32, int64 to int32).
    """
    array = np.asarray(values)
    expected = f"expected {feature.dtype} [N{''.join(f', {n}' for n in feature.shape)}]"
    if array.ndim == 0 or array.shape[1:] != feature.shape:
        raise DataError(f"{where}: {expected}, found {array.dtype} {list(array.shape)}")
    if not len(array):
        raise DataError(f"{where}: there are no examples")
    if array.dtype == feature.dtype:
        return array
    whole = np.issubdtype(array.dtype, np.integer) and np.issubdtype(feature.dtype, np.integer)
    if whole and np.iinfo(feature.dtype).min <= array.min() and array.max() <= np.iinfo(feature.dtype).max:
        return array.astype(feature.dtype)
    if not np.issubdtype(feature.dtype, np.floating) or not np.issubdtype(array.dtype, np.number):
        raise DataError(f"{where}: {expected}, found {array.dtype} {list(array.shape)}")
    return array.astype(feature.dtype)


def batches(inputs: Any, size: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Cut examples into batches of one size, each with its `mask [B]` and its number of real examples.

    Fewer examples than `size` give one batch without padding; the last of several is padded with its first example.
    """
    count = len(jax.tree.leaves(inputs)[0])
    size = min(size, count)
    for start in range(0, count, size):
        batch = jax.tree.map(lambda array, at=start: array[at : at + size], inputs)
        real = min(size, count - start)
        if real < size:
            batch = jax.tree.map(lambda array: padded(array, size), batch)
        yield {"inputs": batch, "mask": np.arange(size) < real}, real


def padded(array: np.ndarray, size: int) -> np.ndarray:
    """Repeat the first example until there are `size`, [n, ...] -> [size, ...]."""
    if len(array) == size:
        return array
    return np.concatenate([array, np.broadcast_to(array[:1], (size - len(array), *array.shape[1:]))])


def _are_texts(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and isinstance(values[0], str)


def _padded(tokens: np.ndarray, feature: Feature, name: str) -> np.ndarray:
    """Pad the tokens of texts, int [N, L], to the length of the training examples."""
    longest = feature.shape[0]
    if tokens.shape[1] > longest:
        raise DataError(f"inputs: {name}: a text has {tokens.shape[1]} tokens, more than the {longest} of training")
    return np.pad(tokens, ((0, 0), (0, longest - tokens.shape[1])), constant_values=PAD)

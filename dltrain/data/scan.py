"""Scan a source before training: all at once if the device is to hold it, else in blocks of examples."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from dltrain.data.aligned import aligned
from dltrain.data.check import check_examples
from dltrain.data.preprocess import Block
from dltrain.data.sources.rows import Rows
from dltrain.types import Kind, Source, by_name

MOST_EXAMPLES = 8192  # examples in a block; the same whether the data is streamed or not, so that sums round alike
MOST_BYTES = 32 * 2**20  # in a block


def size_of(source: Source) -> int:
    """Return the size of all examples in bytes."""
    features = jax.tree.leaves(source.spec.layout())
    return len(source) * sum(feature.size * np.dtype(feature.dtype).itemsize for feature in features)


def read_whole(source: Source) -> dict[str, Any]:
    """Read and check every example; arrays that are already in memory are not copied."""
    if isinstance(source, Rows):
        arrays = dict(source.arrays)
    else:
        arrays = jax.tree.map(aligned, source.read(np.arange(len(source))))
    check_examples(arrays, source.spec)
    return arrays


def read_targets(source: Source) -> Any:
    """Check every example and return only the targets, [N, ...]."""
    found, some = [], _some(source)
    for start in range(0, len(source), some):
        arrays = source.read(np.arange(start, min(start + some, len(source))))
        check_examples(arrays, source.spec, first=start)
        found.append(arrays["targets"])
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def blocks(source: Source, examples: np.ndarray) -> Iterator[Block]:
    """Yield unscaled inputs and targets of these examples in blocks, by name; of sequences the valid steps."""
    own: Any = getattr(source, "scaling_blocks", None)  # windows share rows, each of which counts once
    if own is not None:
        yield from own(examples)
        return
    some, spec = _some(source), source.spec
    length = spec.find(Kind.LENGTH)
    for start in range(0, len(examples), some):
        arrays = source.read(examples[start : start + some])
        given = by_name(arrays["inputs"], spec.inputs)
        inputs = {name: given[name] for name in spec.contents}
        for name, feature in spec.contents.items():
            if length and feature.kind is Kind.SEQUENCE:
                inputs[name] = inputs[name][np.arange(feature.shape[0]) < given[length][:, None]]
        yield inputs, by_name(arrays["targets"], spec.targets)


def _some(source: Source) -> int:
    return max(1, min(MOST_EXAMPLES, MOST_BYTES * len(source) // max(1, size_of(source))))

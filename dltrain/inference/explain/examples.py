"""Examples to explain: of a split of the run's data, from a file, or given in Python."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dltrain.build.data import open_source
from dltrain.build.parts import Parts
from dltrain.data.records.block import Block
from dltrain.data.records.open import as_names, open_records
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.targets import as_level
from dltrain.data.texts.encode import TextEncoder
from dltrain.errors import ConfigError, DataError
from dltrain.inference.bundle import Bundle
from dltrain.inference.given import given_inputs, given_targets
from dltrain.inference.run import Run
from dltrain.types import Kind, by_name

IN_PYTHON = "input=FILE, or in Python dltrain.open_run(RUN).explain(inputs), takes any examples"
MEDIANS = 10_000  # training rows of which the medians are the baseline


@dataclass(frozen=True)
class Examples:
    """Examples as arrays.

    Attributes:
        inputs: arrays after the host halves of the preprocessing, [N, ...], of several features a dict by name.
        names: what people call them.
        what: the split or file that they are from.
        targets: [N, ...]; None where they are not known.
        for_loss: further arrays of the loss.
        texts: input -> its texts, where the model was given their tokens.
        medians: input of numbers -> the medians of the training rows, [F].
        notes: what the user should know of the file that they are from.
    """

    inputs: Any
    names: tuple[str, ...]
    what: str
    targets: Any = None
    for_loss: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    medians: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.names)

    def take(self, places: np.ndarray) -> "Examples":
        """Return some of them, int [n]."""
        inputs, targets, own = jax.tree.map(lambda a: a[places], (self.inputs, self.targets, dict(self.for_loss)))
        names = tuple(self.names[i] for i in places)
        texts = {name: [found[i] for i in places] for name, found in self.texts.items()}
        return replace(self, inputs=inputs, names=names, targets=targets, for_loss=own, texts=texts)


def of_split(run: Run, split: str | None, *, most: int, seed: int) -> Examples:
    """Read at most `most` examples of a split, drawn with this seed; None: test, else validation, else train.

    Raises:
        DataError: the data of the run cannot be read.
        ConfigError: the split has no examples.
    """
    parts, bundle = run.data(reason="explain", instead=IN_PYTHON), run.bundle
    sizes = {name: len(parts.splits[name]) for name in ("test", "validation", "train")}
    split = split or next(name for name, size in sizes.items() if size)
    if split not in sizes or not sizes[split]:
        raise ConfigError(f"split={split}: this run has no {split} examples")
    indices = parts.splits[split]
    if len(indices) > most:
        indices = np.sort(np.random.default_rng(seed).permutation(indices)[:most])
    read = parts.source.read(indices)
    return Examples(
        given_inputs(read["inputs"], bundle.array_spec, bundle.preprocess),
        tuple(f"{split} {index}" for index in indices),
        f"{split} set",
        read["targets"],
        {name: read[name] for name in parts.raw_spec.for_loss},
        _texts(run, indices),
        _medians(parts, bundle, seed),
    )


def given(bundle: Bundle, records: Any, targets: Any = None) -> Examples:
    """Turn records, as `Bundle.predict` takes them, into examples; `targets` may be the names of classes."""
    texts = {} if isinstance(records, np.ndarray) else _texts_of(records, bundle)
    return _examples(bundle, records, targets, what="given examples", texts=texts)


def of_file(run: Run, path: Path) -> Examples:
    """Read examples from a file or folder, as `dltrain predict` does, and their targets where it has them.

    Raises:
        DataError: it is missing or not what the model takes, or an example cannot be read.
    """
    bundle, data = run.bundle, run.config["data"]
    records = open_records(path, bundle.encoder, bundle.raw_spec, keys=data, as_read=True)
    blocks = []
    for block in records.blocks():
        if block.bad:
            raise DataError(f"input={block.bad[0]}; correct it, or leave it out")
        blocks.append(block)
    inputs = jax.tree.map(lambda *parts: np.concatenate(parts), *(block.inputs for block in blocks))
    targets = [_targets(block.as_read, as_names(data.get("target")), bundle) for block in blocks]
    texts = [_texts_of(block.as_read, bundle) for block in blocks]
    try:
        return _examples(
            bundle,
            inputs,
            None if any(found is None for found in targets) else np.concatenate(targets),
            names=tuple(name for block in blocks for name in _names(block)),
            what=path.name,
            texts={name: [text for part in texts for text in part[name]] for name in texts[0]},
            notes=tuple(records.notes()),
        )
    except DataError as error:
        raise DataError(f"input={path}: {error}") from error


def _examples(
    bundle: Bundle, records: Any, targets: Any, *, names: tuple[str, ...] | None = None, **about: Any
) -> Examples:
    inputs, spec = bundle.prepared(records), bundle.array_spec
    count = len(next(iter(by_name(inputs, spec.inputs).values())))
    known = None if targets is None else given_targets(targets, {}, spec)["targets"]
    return Examples(inputs, names or tuple(f"example {i}" for i in range(count)), targets=known, **about)


def _names(block: Block) -> Iterator[str]:
    """Name the examples of a block by what identifies them, such as `line 7`; files by their names."""
    what, values = next(iter(block.ids.items()))
    for i, value in enumerate(values):
        yield f"series {i}" if np.ndim(value) else str(value) if what == "file" else f"{what} {value}"


def _targets(records: Any, names: Sequence[str], bundle: Bundle) -> Any:
    """Return the targets in rows or arrays as they were read, [N, ...]; None unless all are there."""
    if isinstance(records, Mapping):
        return records.get("targets")
    there = names and hasattr(records, "columns") and set(names) <= set(records.columns)
    if not there or any(records[name].null_count() for name in names):
        return None
    (feature,) = bundle.raw_spec.targets.values()
    if feature.kind is Kind.CATEGORY:
        levels = [as_level(value) for value in records[names[0]].to_list()]
        return np.array(levels, object) if set(levels) <= set(feature.vocabulary) else None
    columns = [records[name] for name in names]
    if not all(column.dtype.is_numeric() for column in columns):
        return None
    return np.stack([column.to_numpy().astype(feature.dtype) for column in columns], 1)


def _text_columns(bundle: Bundle) -> dict[str, str]:
    """Return the inputs that are texts, with the columns that they are from."""
    encoder = bundle.encoder
    if isinstance(encoder, TextEncoder):
        return {next(iter(encoder.features)): encoder.column}
    if isinstance(encoder, TableEncoder):
        return {encoder.input_of(name): name for name in encoder.texts}
    return {}


def _texts(run: Run, indices: np.ndarray) -> dict[str, list[str | None]]:
    """Read the texts of examples of the run's data again, since the model was given only their tokens."""
    columns = _text_columns(run.bundle)
    if not columns:
        return {}
    source = open_source(run.config["data"], run.folder.trust, task=run.bundle.raw_spec.task)
    return {name: [_text(value) for value in source.column(column)[indices]] for name, column in columns.items()}


def _texts_of(records: Any, bundle: Bundle) -> dict[str, list[str | None]]:
    columns = _text_columns(bundle)
    if isinstance(records, list | tuple) and records and isinstance(records[0], str):
        return {name: list(records) for name in columns}
    if isinstance(records, Mapping) or hasattr(records, "columns"):
        names = list(records) if isinstance(records, Mapping) else list(records.columns)
        return {name: [_text(v) for v in records[column]] for name, column in columns.items() if column in names}
    return {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _medians(parts: Parts, bundle: Bundle, seed: int) -> dict[str, np.ndarray]:
    """Return the medians of the columns of numbers, of at most 10,000 training rows."""
    names = [name for name, feature in bundle.array_spec.inputs.items() if feature.kind is Kind.NUMBERS]
    train = parts.splits.train
    if not names or not len(train):
        return {}
    some = np.sort(np.random.default_rng(seed).permutation(train)[:MEDIANS])
    inputs = given_inputs(parts.source.read(some)["inputs"], bundle.array_spec, bundle.preprocess)
    return {name: np.median(by_name(inputs, bundle.array_spec.inputs)[name], axis=0) for name in names}

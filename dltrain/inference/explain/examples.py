"""Examples to explain: of a split of the run's data, from a file, or given in Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.build.data import open_source
from dltrain.build.parts import Parts
from dltrain.data.images.decode import ENDINGS
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.tables.read import read_rows
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
    """

    inputs: Any
    names: tuple[str, ...]
    what: str
    targets: Any = None
    for_loss: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    medians: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.names)

    def take(self, places: np.ndarray) -> "Examples":
        """Return some of them, int [n]."""
        import jax

        inputs, targets, own = jax.tree.map(lambda a: a[places], (self.inputs, self.targets, dict(self.for_loss)))
        names = tuple(self.names[i] for i in places)
        texts = {name: [found[i] for i in places] for name, found in self.texts.items()}
        return Examples(inputs, names, self.what, targets, own, texts, self.medians)


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


def given(bundle: Bundle, records: Any, targets: Any = None, *, what: str = "given examples") -> Examples:
    """Turn records, as `Bundle.predict` takes them, into examples; `targets` may be the names of classes."""
    inputs = given_inputs(bundle.encode(records), bundle.array_spec, bundle.preprocess)
    count = len(next(iter(by_name(inputs, bundle.array_spec.inputs).values())))
    known = {} if targets is None else given_targets(targets, {}, bundle.array_spec)
    texts = {} if isinstance(records, np.ndarray) else _texts_of(records, bundle)
    names = tuple(f"example {i}" for i in range(count))
    return Examples(inputs, names, what, known.get("targets"), texts=texts)


def of_file(bundle: Bundle, path: Path, targets: Sequence[str]) -> Examples:
    """Read examples from a file; the columns `targets` hold what is to be predicted, where the file has them.

    Raises:
        DataError: the file is missing, or is not what the model takes.
    """
    if not path.exists():
        raise DataError(f"input={path}: no such file or folder")
    records, found = read_records(bundle, path, targets)
    try:
        return given(bundle, records, found, what=path.name)
    except DataError as error:
        raise DataError(f"input={path}: {error}") from error


def read_records(bundle: Bundle, path: Path, targets: Sequence[str]) -> tuple[Any, Any]:
    """Read a file as records for `Bundle.encode`, and the targets that are in it: arrays, rows, texts or images."""
    if path.suffix == ".npz":
        return _arrays(path, bundle)
    if isinstance(bundle.encoder, ImageEncoder):
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        if not found:
            raise DataError(f"input={path}: has no images ({', '.join(ENDINGS)})")
        return [str(image) for image in found], None
    if isinstance(bundle.encoder, TextEncoder) and path.suffix.lower() in (".txt", ".text"):
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()], None
    frame = read_rows(path).frame
    return frame, _targets(frame, targets, bundle)


def _arrays(path: Path, bundle: Bundle) -> tuple[Any, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise DataError(f"input={path}: is not an .npz file of arrays ({str(error).splitlines()[0]})") from error
    targets = arrays.pop("targets", None)
    if set(arrays) == {"inputs"}:
        return arrays["inputs"], targets
    known = {name: arrays[name] for name in bundle.raw_spec.inputs if name in arrays}
    if not known:
        has = ", ".join(arrays) or "nothing"
        raise DataError(f"input={path}: has {has}; expected inputs, or {', '.join(bundle.raw_spec.inputs)}")
    return (known if len(bundle.raw_spec.inputs) > 1 else next(iter(known.values()))), targets


def _targets(frame: Any, names: Sequence[str], bundle: Bundle) -> Any:
    """Return the columns of the targets, if the file has them without gaps."""
    (feature,) = bundle.raw_spec.targets.values()
    if not names or any(name not in frame.columns or frame[name].null_count() for name in names):
        return None
    if feature.kind is Kind.CATEGORY:
        levels = [as_level(value) for value in frame[names[0]].to_list()]
        return levels if set(levels) <= set(feature.vocabulary) else None
    columns = [frame[name] for name in names]
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

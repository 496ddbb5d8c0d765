"""Examples held as arrays in memory: what most sources return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from dltrain.data.aligned import aligned
from dltrain.data.description import Description
from dltrain.data.sources.fingerprint import fingerprint
from dltrain.tree import flattened
from dltrain.types import Feature, Kind, Spec

FOR_LOSS = {"weights": Kind.WEIGHT, "loss_mask": Kind.MASK}
"""What a source may add for the loss only."""


@dataclass
class Rows:
    """A source that is completely in memory.

    Attributes:
        arrays: `inputs [N, ...]` and `targets [N, ...]`, each an array or a dict of them by name, and what
            `spec.for_loss` names.
        spec: the features of one example.
        published: indices of the splits that were published with the data set.
        fingerprint: of the content; computed from the arrays if it is empty.
        suggestion: the task that suits the targets, and why; None where the user chooses.
        description: what was found in the files.
        keep: what must not end before the arrays, such as the lock of a memory-mapped file.
        names: what messages call the examples, such as their files; empty if they have only numbers.
        encoder: turns new examples, as people have them, into the arrays of the inputs; saved with the run.
        locate: the same, where a function returns it: file and row.
    """

    arrays: Mapping[str, Any]
    spec: Spec
    published: Mapping[str, np.ndarray] = field(default_factory=dict)
    fingerprint: str = ""
    suggestion: tuple[str, str] | None = None
    description: Description | None = None
    keep: Any = None
    names: Sequence[str] = ()
    encoder: Any = None
    locate: Callable[[int], str] | None = None

    def __post_init__(self) -> None:
        """Fingerprint the arrays, with the vocabulary: the same numbers for other words are other data.

        The arrays become read-only, since the device may share their memory.
        """
        self.arrays = jax.tree.map(lambda array: aligned(array).view(), dict(self.arrays))
        for array in jax.tree.leaves(self.arrays):
            array.flags.writeable = False
        if self.fingerprint:
            return
        words = np.frombuffer("\n".join(self.spec.vocabulary).encode(), np.uint8)
        flat = flattened(self.arrays)
        self.fingerprint = fingerprint({**flat, "vocabulary": words} if words.size else flat)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(jax.tree.leaves(self.arrays["inputs"])[0])

    def describe(self, train: np.ndarray) -> Description | None:
        """Return what was found in the files."""
        del train
        return self.description

    def where(self, index: int) -> str:
        """Return the name of an example, "" if it has none."""
        if self.locate is not None:
            return self.locate(index)
        return self.names[index] if self.names else ""

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B]."""
        return jax.tree.map(lambda array: array[indices], dict(self.arrays))


class Picked:
    """Some examples of a source that is in memory, or memory-mapped, in this order."""

    def __init__(self, rows: Rows, picked: np.ndarray) -> None:
        """Store the numbers of the examples, int [N]; `published` of the source counts these."""
        self._rows, self._picked = rows, picked
        self.spec, self.published, self.suggestion = rows.spec, rows.published, rows.suggestion
        self.encoder = rows.encoder
        self.fingerprint = fingerprint({"picked": picked, "of": np.array(rows.fingerprint)})

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self._picked)

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B]."""
        return self._rows.read(self._picked[indices])

    def describe(self, train: np.ndarray) -> Description | None:
        """Return what was found in the files."""
        return self._rows.describe(train)

    def where(self, index: int) -> str:
        """Return the name of an example, "" if it has none."""
        return self._rows.where(int(self._picked[index]))


def make_rows(
    arrays: Mapping[str, Any],
    *,
    kind: Kind | str | Mapping[str, Kind | str],
    classes: Sequence[str] = (),
    vocabulary: Sequence[str] = (),
    features: Sequence[str] = (),
    target_names: Sequence[str] = (),
    published: Mapping[str, np.ndarray] | None = None,
    fingerprint: str = "",
) -> Rows:
    """Make a source from arrays; its spec takes their shapes and dtypes.

    Args:
        arrays: `inputs` and `targets`, [N, ...]; `inputs` may be a dict of arrays by name, such as
            {"sequence": ..., "length": ...}. For the loss, `weights [N]` and `loss_mask [N, L]` may be added.
        kind: what the inputs are (image, numbers, sequence, tokens, ...); for a dict of inputs, a dict of kinds.
        classes: names of the classes, where the targets are classes, int [N]; of the labels, where they are 0 or
            1 for each label, int [N, T].
        vocabulary: the tokens, where inputs or targets are tokens.
        features: names of the columns of the inputs.
        target_names: names of the columns of the targets.
        published: indices of the splits that the authors of the data fixed (`{"test": ...}`).
        fingerprint: of the content, where the caller knows it; "" to compute it.

    Raises:
        TypeError: an argument has the wrong type, or an array is missing.
        ValueError: the kind is unknown.
    """
    _check_parts(arrays)
    inputs, targets = arrays["inputs"], arrays["targets"]
    kinds, words = _kinds(inputs, kind), _texts("vocabulary", vocabulary)
    held = inputs if isinstance(inputs, Mapping) else {name: inputs for name in kinds}
    columns = _texts("features", features)
    spec = Spec(
        {name: _feature(kinds[name], array, columns, words) for name, array in held.items()},
        {"target": _target(targets, _texts("classes", classes), words, _texts("target_names", target_names))},
        for_loss={name: _feature(kind, arrays[name]) for name, kind in FOR_LOSS.items() if name in arrays},
    )
    return Rows(arrays, spec, published or {}, fingerprint)


def _feature(kind: Kind, array: np.ndarray, names: tuple[str, ...] = (), words: tuple[str, ...] = ()) -> Feature:
    """Return the feature that an array [N, ...] holds; names are for columns, words for tokens or classes."""
    columns, numbered = (Kind.NUMBERS, Kind.SEQUENCE), (Kind.TOKENS, Kind.DECODER_TOKENS, Kind.CATEGORY)
    names, words = names if kind in columns else (), words if kind in numbered else ()
    return Feature(kind, array.shape[1:], str(array.dtype), names, words)


def _target(
    targets: np.ndarray, classes: tuple[str, ...], words: tuple[str, ...], names: tuple[str, ...]
) -> Feature:
    """Return the feature of the targets: named classes or labels, tokens, else numbers."""
    if classes and targets.ndim == 2 and targets.shape[1] == len(classes):
        return Feature(Kind.LABELS, targets.shape[1:], str(targets.dtype), vocabulary=classes)
    if classes:
        return _feature(Kind.CATEGORY, targets, words=classes)
    if words and np.issubdtype(targets.dtype, np.integer):
        return _feature(Kind.TOKENS, targets, words=words)
    return _feature(Kind.NUMBERS, targets, names)


def _check_parts(arrays: Any) -> None:
    if not isinstance(arrays, Mapping):
        raise TypeError(f"make_rows: expected a dict of arrays, found {type(arrays).__name__}")
    for part in ("inputs", "targets"):
        if part not in arrays:
            raise TypeError(f"make_rows: {part}: missing; found {', '.join(map(str, arrays)) or 'nothing'}")
    if unknown := [name for name in arrays if name not in ("inputs", "targets", *FOR_LOSS)]:
        raise TypeError(
            f"make_rows: {unknown[0]}: unknown; besides inputs and targets there may be {', '.join(FOR_LOSS)}. "
            f"For an input of the model, make inputs a dict: {{'x': ..., '{unknown[0]}': ...}}"
        )
    for name, array in flattened(dict(arrays)).items():
        if not isinstance(array, np.ndarray) or not array.ndim:
            raise TypeError(f"make_rows: {name}: expected a NumPy array [N, ...], found {type(array).__name__}")


def _kinds(inputs: Any, kind: Any) -> dict[str, Kind]:
    """Return the kind of each input by its name; a single one is named by its kind."""
    if not isinstance(inputs, Mapping):
        if isinstance(kind, Mapping):
            raise TypeError(f"make_rows: kind: found one for each of {', '.join(kind)}, but inputs is one array")
        return {str(_kind(kind)): _kind(kind)}
    if not isinstance(kind, Mapping) or set(kind) != set(inputs):
        example = ", ".join(f"{name!r}: ..." for name in inputs)
        raise TypeError(f"make_rows: kind: expected one for each input, {{{example}}}, found {kind!r}")
    return {name: _kind(kind[name]) for name in inputs}


def _kind(kind: Any) -> Kind:
    if not isinstance(kind, str) or kind not in list(Kind):
        raise ValueError(f"make_rows: kind={kind!r}: expected one of {', '.join(Kind)}")
    return Kind(kind)


def _texts(name: str, texts: Any) -> tuple[str, ...]:
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"make_rows: {name}: expected a list of texts, found {texts!r}")
    return tuple(texts)

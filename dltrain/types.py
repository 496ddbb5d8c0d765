"""What everyone may import: batches, specs and the protocols between the floors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Protocol

import jax
import numpy as np

from dltrain.errors import ConfigError

Array = jax.Array
"""A device array. Shape legend: B batch, H W C image, L length, F features, K classes, V size of a vocabulary."""

Batch = Mapping[str, Any]
"""`inputs` and `targets`, `mask [B]` (False marks a padding example), and what a source adds for the loss alone
(`weights [B]`, `loss_mask [B, L]`). Every array has the leading axis B.

`inputs` is what the model is given: an array where the data has one input feature, else a dict of arrays by the
names of the features; `targets` likewise."""

RECURRENT_STATE = "recurrent_state"
"""Name of the part of a model whose variables hold something of each row of the batch before, [B, ...].

The model makes them for one row, zeros for nothing, and the engine for as many as its batches have. They are saved
and resumed with the state, but nothing that was learnt: another run, and running means, leave them out."""


class Kind(StrEnum):
    """What a feature is: how it is checked, scaled and drawn. The shapes are those of one example."""

    NUMBERS = "numbers"  # float [F], columns of numbers
    IMAGE = "image"  # [H, W, C]
    SEQUENCE = "sequence"  # float [L, F]
    TOKENS = "tokens"  # int [L], numbers of tokens of the vocabulary
    DECODER_TOKENS = "decoder_tokens"  # int [L], the target tokens moved by one step: what a decoder is fed
    CATEGORY = "category"  # int [] or [H, W], numbers of classes of the vocabulary
    LENGTH = "length"  # int [], how many steps of the sequence or text are valid, the rest is padding
    POSITION = "position"  # int [], the step of the whole text at which the example begins
    WEIGHT = "weight"  # float [], how much an example counts in the loss
    MASK = "mask"  # bool [L], which steps count in the loss and the metrics

    @property
    def words(self) -> str:
        """What examples of this kind are called in a sentence."""
        named = {"numbers": "a table", "image": "images", "sequence": "sequences", "tokens": "texts"}
        return named.get(self, f"a {self.replace('_', ' ')}")


CONTENT = (Kind.NUMBERS, Kind.IMAGE, Kind.SEQUENCE, Kind.TOKENS, Kind.CATEGORY)
"""Kinds of features that say something by themselves; the others belong to one of these."""


@dataclass(frozen=True)
class Feature:
    """One named part of every example: an input, a target, or something for the loss.

    Attributes:
        kind: what it is.
        shape: of one example, without the batch axis.
        dtype: as the source delivers it.
        names: of the columns, where they have names.
        vocabulary: the tokens or the names of the classes, in the order of their numbers.
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers an example has."""
        return int(np.prod(self.shape, dtype=int))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        found = {"kind": str(self.kind), "shape": list(self.shape), "dtype": self.dtype}
        return found | {"names": list(self.names), "vocabulary": list(self.vocabulary)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Feature":
        """Undo `to_json`."""
        shape, names, vocabulary = (tuple(saved[part]) for part in ("shape", "names", "vocabulary"))
        return cls(Kind(saved["kind"]), shape, saved["dtype"], names, vocabulary)


@dataclass(frozen=True)
class Spec:
    """What a source delivers; models, losses and metrics ask it instead of repeating numbers in YAML.

    Attributes:
        inputs: what the model is given, by name.
        targets: what it is to predict, by name.
        task: what is to be done with the targets, see `dltrain.tasks`; None in the spec of a source.
        counts: split -> examples of each class, where the target is one class per example.
        for_loss: what the source adds for the loss alone: `weights`, `loss_mask`.
    """

    inputs: Mapping[str, Feature]
    targets: Mapping[str, Feature]
    task: Any = None
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    for_loss: Mapping[str, Feature] = field(default_factory=dict)

    @property
    def input_name(self) -> str:
        """The name of the one input that has content; ConfigError where there are several."""
        return _only({name: f for name, f in self.inputs.items() if f.kind in CONTENT}, "inputs")

    @property
    def input(self) -> Feature:
        """The one input that has content; others only tell of it, as its length does."""
        return self.inputs[self.input_name]

    @property
    def target(self) -> Feature:
        """The one target; ConfigError where there are several."""
        return self.targets[_only(self.targets, "targets")]

    def find(self, kind: Kind) -> str | None:
        """Return the name of the input of this kind, or None; of several the first."""
        return next((name for name, feature in self.inputs.items() if feature.kind is kind), None)

    def only(self, kind: Kind) -> str:
        """Return the name of the one input of this kind, or raise ConfigError."""
        return _only({name: f for name, f in self.inputs.items() if f.kind is kind}, f"inputs of kind {kind}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, where the target is classes."""
        return self.target.vocabulary if self.target.kind is Kind.CATEGORY else ()

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Tokens of the text that is generated, else of the one that is read."""
        found = (*self.targets.values(), *self.inputs.values())
        return next((feature.vocabulary for feature in found if feature.kind is Kind.TOKENS), ())

    @property
    def outputs(self) -> int:
        """How many numbers a model must return for each example (position, pixel)."""
        return self.task.outputs(self)

    @property
    def has_labels(self) -> bool:
        """Whether the target is one class per example, int [B]."""
        (target, *others) = self.targets.values()
        return not others and target.kind is Kind.CATEGORY and target.shape == ()

    def example(self) -> Any:
        """Return what a model is given, for one example, as shapes and types with a leading axis 1."""
        scaled = {Kind.NUMBERS: "float32", Kind.IMAGE: "float32", Kind.SEQUENCE: "float32", Kind.TOKENS: "int32"}
        return alone_or_named(
            {n: jax.ShapeDtypeStruct((1, *f.shape), scaled.get(f.kind, f.dtype)) for n, f in self.inputs.items()}
        )

    def layout(self) -> dict[str, Any]:
        """Return the features in the structure of what the source reads."""
        named = {"inputs": self.inputs, "targets": self.targets}
        return {part: alone_or_named(features) for part, features in named.items()} | dict(self.for_loss)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, without the task, which the config names."""
        parts = {"inputs": self.inputs, "targets": self.targets, "for_loss": self.for_loss}
        saved: dict[str, Any] = {part: {n: f.to_json() for n, f in found.items()} for part, found in parts.items()}
        return saved | {"counts": {split: list(counts) for split, counts in self.counts.items()}}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], *, task: Any) -> "Spec":
        """Undo `to_json`."""
        inputs, targets, for_loss = (
            {name: Feature.from_json(feature) for name, feature in saved[part].items()}
            for part in ("inputs", "targets", "for_loss")
        )
        counts = {split: tuple(counts) for split, counts in saved["counts"].items()}
        return cls(inputs, targets, task, counts, for_loss)


def content(batch: Mapping[str, Any], spec: Spec) -> Any:
    """Return the array of the one input that has content, [B, ...]."""
    inputs = batch["inputs"]
    return inputs[spec.input_name] if isinstance(inputs, Mapping) else inputs


def alone_or_named(parts: Mapping[str, Any]) -> Any:
    """Return what stands for one feature alone, or for several a dict by name: the structure of a batch."""
    return dict(parts) if len(parts) > 1 else next(iter(parts.values()))


def _only(features: Mapping[str, Feature], what: str) -> str:
    if len(features) == 1:
        return next(iter(features))
    there = ", ".join(f"{name} ({feature.kind})" for name, feature in features.items()) or "none"
    raise ConfigError(f"one of the {what} of the data is needed here, found {there}")


class Source(Protocol):
    """Random access to rows of one data set.

    `published` holds the row numbers of the splits that the data set's authors fixed (`{"test": ...}`);
    the rest is left to `dltrain.data.split`.

    Where examples continue one another (windows of a text), `spec.inputs` may have a feature of the kind POSITION,
    and the source then has `position`, the same of all examples, int [N].
    """

    spec: Spec
    fingerprint: str
    published: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Return the number of rows, all splits together."""
        ...

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B] -> `inputs`, `targets` and what `spec.for_loss` names, as of a batch."""
        ...


class Decoder(Protocol):
    """A model that writes sequences token by token: what `dltrain generate` asks for."""

    def begin(self, inputs: Any, count: int) -> Any:
        """Return the cache before the first token, for `count` sequences.

        `inputs` is what the model is given of rows (a picture, a sentence to translate), without the tokens to be
        written; None for a language model.
        """
        ...

    def decode(self, tokens: Array, cache: Any) -> tuple[Array, Any]:
        """Take the next tokens, int [B], and return the logits [B, V] of those after them, and the cache."""
        ...


class Attentive(Protocol):
    """A model that can tell where it looked."""

    def attention(self, inputs: Any) -> Array:
        """Return weights over the steps of the inputs that sum to 1: float [B, L], or [B, L written, L]."""
        ...


class Sampler(Protocol):
    """A model that draws examples from noise."""

    def sample(self, key: Array, count: int) -> Array:
        """Return examples as the model is given them, float [count, ...]."""
        ...


@dataclass(frozen=True)
class NamedIn:
    """Marks a parameter that YAML fills with a name: a public function of `module`.

    With `call` the function is a factory and is called without arguments (`he_normal` -> `he_normal()`).
    """

    module: str
    call: bool = False


Activation = Annotated[Callable[[Array], Array], NamedIn("dltrain.activations")]
Initializer = Annotated[Callable[..., Array], NamedIn("dltrain.initializers", call=True)]

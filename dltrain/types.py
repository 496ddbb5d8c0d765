"""Types that every layer may import: batches, specs and the protocols between the layers.

The file is a little over 300 lines, since whoever writes a part looks for these types in one place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import jax
import numpy as np

from dltrain.errors import ConfigError
from dltrain.kinds import Kind

Array = jax.Array
"""A device array. Shape legend: B batch, H W C image, L length, F features, K classes, V size of a vocabulary."""

Batch = Mapping[str, Any]
"""`inputs` and `targets`, `mask [B]` (False marks a padding example), and what a source adds for the loss only
(`weights [B]`, `loss_mask [B, L]`). Every array has the leading axis B.

`inputs` is what the model is called with: an array if the data has one input feature, else a dict of arrays by
feature name; `targets` likewise."""


def is_zero(value: float | Array) -> bool:
    """Tell whether a number is known to be zero while tracing, so that its terms need not be computed."""
    return isinstance(value, int | float) and value == 0


RECURRENT_STATE = "recurrent_state"
"""Name of the part of a model whose variables hold a state for each example of the previous batch, [B, ...].

The model creates them for one example, with zeros as the initial state, and the engine repeats them for its batch
size. They are saved and resumed with the state but are not learned: `init_from` and the EMA leave them out."""


PROGRESS = "progress"
"""Name of a variable of a model, float32 [], that is the part of training that is done: 0 before the first step.

The engine sets it before each step, for values that change while training, such as a dropout rate.
"""


CONTENT = (
    Kind.NUMBERS,
    Kind.IMAGE,
    Kind.SEQUENCE,
    Kind.TOKENS,
    Kind.NGRAMS,
    Kind.CATEGORY,
    Kind.CATEGORIES,
)
"""Kinds of features with content of their own; the others describe one of these."""


@dataclass(frozen=True)
class Feature:
    """One named part of every example: an input, a target, or an array for the loss.

    Attributes:
        kind: kind of the feature.
        shape: shape of one example, without the batch axis.
        dtype: dtype that the source returns.
        names: names of the columns, if they have any.
        vocabulary: the tokens or the names of the classes, in the order of their indices.
        levels: of CATEGORIES, the known levels of each column, in the order of their numbers from 1.
        buckets: of NGRAMS, the largest number.
        bins: of NUMBERS, the edges of the bins of each column, if a model needs them (`data/preprocess/bins.py`).
    """

    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()
    buckets: int = 0
    bins: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        """Take the word of a kind for the kind."""
        object.__setattr__(self, "kind", Kind(self.kind))

    @property
    def size(self) -> int:
        """Number of elements of an example."""
        return int(np.prod(self.shape, dtype=int))

    def to_json(self) -> dict[str, Any]:
        """Return the feature as plain JSON."""
        found = {"kind": str(self.kind), "shape": list(self.shape), "dtype": self.dtype}
        more: dict[str, Any] = {"levels": [list(names) for names in self.levels]} if self.levels else {}
        more |= {"buckets": self.buckets} if self.buckets else {}
        more |= {"bins": [list(edges) for edges in self.bins]} if self.bins else {}
        return found | {"names": list(self.names), "vocabulary": list(self.vocabulary)} | more

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Feature":
        """Return the feature that `to_json` saved."""
        shape, names, vocabulary = (tuple(saved[part]) for part in ("shape", "names", "vocabulary"))
        levels = tuple(tuple(names) for names in saved.get("levels", ()))
        bins = tuple(tuple(edges) for edges in saved.get("bins", ()))
        buckets = saved.get("buckets", 0)
        return cls(Kind(saved["kind"]), shape, saved["dtype"], names, vocabulary, levels, buckets, bins)


@dataclass(frozen=True)
class Spec:
    """Description of the data; models, losses and metrics take sizes from it, so that no YAML repeats them.

    Attributes:
        inputs: inputs of the model, by name.
        targets: what the model is to predict, by name.
        task: task that determines how the targets are used, see `dltrain.tasks`; None in the spec of a source.
        counts: split -> number of examples of each class, if the target is one class per example.
        for_loss: what the source adds for the loss only: `weights`, `loss_mask`.
    """

    inputs: Mapping[str, Feature]
    targets: Mapping[str, Feature]
    task: Any = None
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    for_loss: Mapping[str, Feature] = field(default_factory=dict)

    @property
    def contents(self) -> dict[str, Feature]:
        """The inputs with content of their own, by name."""
        return {name: feature for name, feature in self.inputs.items() if feature.kind in CONTENT}

    @property
    def input_name(self) -> str:
        """Name of the one input that has content; ConfigError if there are several."""
        return _only(self.contents, "inputs")

    @property
    def input(self) -> Feature:
        """The one input that has content; others describe it, such as its length."""
        return self.inputs[self.input_name]

    @property
    def shown_name(self) -> str:
        """Name of the input that figures show: an image if there is one, else the first with content."""
        images = (name for name, feature in self.contents.items() if feature.kind is Kind.IMAGE)
        return next(images, next(iter(self.contents)))

    @property
    def shown(self) -> Feature:
        """The input that figures show."""
        return self.inputs[self.shown_name]

    @property
    def target(self) -> Feature:
        """The one target; ConfigError if there are several."""
        return self.targets[_only(self.targets, "targets")]

    def find(self, kind: Kind) -> str | None:
        """Return the name of the first input of this kind, or None."""
        return next((name for name, feature in self.inputs.items() if feature.kind is kind), None)

    def only(self, kind: Kind) -> str:
        """Return the name of the one input of this kind, or raise ConfigError."""
        return _only({name: f for name, f in self.inputs.items() if f.kind is kind}, f"inputs of kind {kind}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes if the target is classes, else empty."""
        features = list(self.targets.values())
        return features[0].vocabulary if [f.kind for f in features] == [Kind.CATEGORY] else ()

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Tokens of the target text, else of the input text, else empty."""
        found = (*self.targets.values(), *self.inputs.values())
        return next((feature.vocabulary for feature in found if feature.kind is Kind.TOKENS), ())

    @property
    def outputs(self) -> int:
        """Number of outputs that a model returns for each example (position, pixel)."""
        return self.task.outputs(self)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels of which several may be true at once, else empty."""
        features = list(self.targets.values())
        return features[0].vocabulary if [f.kind for f in features] == [Kind.LABELS] else ()

    @property
    def has_labels(self) -> bool:
        """Whether the target is one class per example, int [B]."""
        (target, *others) = self.targets.values()
        return not others and target.kind is Kind.CATEGORY and target.shape == ()

    def example(self) -> Any:
        """Return shapes and dtypes of the inputs of a model for a batch of one example."""
        scaled = {Kind.NUMBERS: "float32", Kind.IMAGE: "float32", Kind.SEQUENCE: "float32", Kind.TOKENS: "int32"}
        return alone_or_named(
            {n: jax.ShapeDtypeStruct((1, *f.shape), scaled.get(f.kind, f.dtype)) for n, f in self.inputs.items()}
        )

    def layout(self) -> dict[str, Any]:
        """Return the features in the structure that the source's `read` returns."""
        named = {"inputs": self.inputs, "targets": self.targets}
        return {part: alone_or_named(features) for part, features in named.items()} | dict(self.for_loss)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON, without the task, which the config names."""
        parts = {"inputs": self.inputs, "targets": self.targets, "for_loss": self.for_loss}
        saved: dict[str, Any] = {part: {n: f.to_json() for n, f in found.items()} for part, found in parts.items()}
        return saved | {"counts": {split: list(counts) for split, counts in self.counts.items()}}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], *, task: Any) -> "Spec":
        """Return the spec that `to_json` saved, with this task."""
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


def shown(batch: Mapping[str, Any], spec: Spec) -> Any:
    """Return the array of the input that figures show, [B, ...]."""
    return by_name(batch["inputs"], spec.inputs)[spec.shown_name]


def by_name(values: Any, features: Mapping[str, Feature]) -> Mapping[str, Any]:
    """Return values by the name of their feature: the reverse of `alone_or_named`.

    Raises:
        ConfigError: there are several features, but the values are not a dict.
    """
    return values if isinstance(values, Mapping) else {_only(features, "inputs and targets"): values}


def alone_or_named(parts: Mapping[str, Any]) -> Any:
    """Return the value of a single feature, or a dict by name of several: the structure of a batch."""
    return dict(parts) if len(parts) > 1 else next(iter(parts.values()))


def _only(features: Mapping[str, Feature], what: str) -> str:
    if len(features) == 1:
        return next(iter(features))
    found = ", ".join(f"{name} ({feature.kind})" for name, feature in features.items()) or "none"
    raise ConfigError(f"expected exactly one of the {what} of the data, found {found}")


class Source(Protocol):
    """Random access to the examples of a data set.

    `published` holds the indices of the splits that the authors of the data set fixed (`{"test": ...}`);
    `dltrain.data.split` makes the others.

    If examples continue one another (windows of a text), `spec.inputs` may have a feature of kind POSITION; the
    source then also has `position`, the positions of all examples, int [N].
    """

    spec: Spec
    fingerprint: str
    published: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Return the number of examples in all splits together."""
        ...

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these examples, int [B] -> `inputs`, `targets` and what `spec.for_loss` names, as in a batch."""
        ...


class Decoder(Protocol):
    """A model that generates sequences token by token, as `dltrain generate` needs it."""

    def begin(self, inputs: Any, count: int) -> Any:
        """Return the cache before the first token, for `count` sequences.

        `inputs` are the inputs of the model for these examples (an image, a sentence to translate), without the
        tokens to generate; None for a language model.
        """
        ...

    def decode(self, tokens: Array, cache: Any) -> tuple[Array, Any]:
        """Take the next tokens, int [B]; return the logits [B, V] of the tokens after them, and the cache."""
        ...


class Attentive(Protocol):
    """A model that returns its attention weights."""

    def attention(self, inputs: Any) -> Array:
        """Return weights over the steps of the inputs that sum to 1: float [B, L], or [B, L generated, L]."""
        ...


class Sampler(Protocol):
    """A model that draws examples from noise."""

    def sample(self, key: Array, count: int) -> Array:
        """Return examples, scaled as the inputs of the model are, float [count, ...]."""
        ...


@dataclass(frozen=True)
class NamedIn:
    """Annotation of a parameter that YAML sets by name: a public function of `module`.

    With `call` the function is a factory and is called without arguments (`he_normal` -> `he_normal()`).
    """

    module: str
    call: bool = False


Activation = Annotated[Callable[[Array], Array], NamedIn("dltrain.activations")]
Initializer = Annotated[Callable[..., Array], NamedIn("dltrain.initializers", call=True)]

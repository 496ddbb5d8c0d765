"""What everyone may import: batches, specs, tasks and the protocols between the floors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Protocol

import jax
import numpy as np

Array = jax.Array
"""A device array. Shape legend: B batch, H W C image, L length, F features, K classes, V size of a vocabulary."""

Batch = Mapping[str, Any]
"""`inputs [B, ...]`, `targets [B, ...]`, `mask [B]` (False marks a padding row), and what a source adds
(`lengths [B]`, `loss_mask [B, L]`, `weights [B]`). Every array has the leading axis B.

Where `Spec.beside` names arrays, the model is given `inputs` as a dict: `main`, which is the source's `inputs`, and
those beside it. Sources, augmentation and losses see the arrays by their own names."""

OF_THE_LOSS = ("loss_mask", "weights")
"""What a source may add for the loss alone; everything else it adds is given to the model."""

RECURRENT_STATE = "recurrent_state"
"""Name of the part of a model whose variables hold something of each row of the batch before, [B, ...].

The model makes them for one row, zeros for nothing, and the engine for as many as its batches have. They are saved
and resumed with the state, but nothing that was learnt: another run, and running means, leave them out."""


class Task(StrEnum):
    """What the targets are: which loss, metrics and output size follow."""

    CLASSIFICATION = "classification"  # targets int [B] in 0..K-1; outputs [B, K] logits
    BINARY = "binary"  # targets int [B] in 0..1; outputs [B, 1], one logit
    REGRESSION = "regression"  # targets float [B, T]; outputs [B, T]
    LANGUAGE = "language"  # targets int [B, L], the next token of each position; outputs [B, L, V] logits
    GENERATION = "generation"  # as LANGUAGE, given inputs to write about: judged by what the model writes by itself
    SEGMENTATION = "segmentation"  # targets int [B, H, W] in 0..K-1; outputs [B, H, W, K] logits
    RECONSTRUCTION = "reconstruction"  # targets are the inputs as the model is given them; outputs of their shape
    ENERGY = "energy"  # targets as above, for the metrics; outputs are free energies and a reconstruction
    ADVERSARIAL = "adversarial"  # no targets; outputs are the judgements of a discriminator


SELF_SUPERVISED = (Task.RECONSTRUCTION, Task.ENERGY, Task.ADVERSARIAL)
"""Tasks that need no targets: a model names one of them in its YAML, in place of the data's."""


class Kind(StrEnum):
    """What one row of the inputs is: how it is scaled and drawn."""

    TABLE = "table"  # [F]
    IMAGE = "image"  # [H, W, C]
    SEQUENCE = "sequence"  # [L, F]
    TOKENS = "tokens"  # int [L], numbers of a vocabulary

    @property
    def words(self) -> str:
        """What such rows are called in a sentence."""
        return {"table": "a table", "image": "pictures", "sequence": "sequences", "tokens": "texts"}[self]


@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of one row of an array (without the batch axis)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """How many numbers a row has."""
        return int(np.prod(self.shape, dtype=int))


@dataclass(frozen=True)
class Spec:
    """What a source delivers; models, losses and metrics ask it instead of repeating numbers in YAML."""

    inputs: ArraySpec
    targets: ArraySpec
    task: Task
    kind: Kind
    classes: tuple[str, ...] = ()  # class names, in the order of the labels
    features: tuple[str, ...] = ()  # names of the input columns, where there are any
    target_names: tuple[str, ...] = ()  # names of the target columns of a regression
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # split -> rows of each class
    vocabulary: tuple[str, ...] = ()  # tokens, in the order of their numbers
    more: Mapping[str, ArraySpec] = field(default_factory=dict)  # what else a row has (lengths, loss_mask, ...)

    @property
    def outputs(self) -> int:
        """How many numbers a model must return for each row (position, pixel)."""
        match self.task:
            case Task.CLASSIFICATION | Task.SEGMENTATION:
                return len(self.classes)
            case Task.BINARY:
                return 1
            case Task.REGRESSION:
                return self.targets.size
            case Task.LANGUAGE | Task.GENERATION:
                return len(self.vocabulary)
            case Task.RECONSTRUCTION | Task.ENERGY | Task.ADVERSARIAL:
                return self.inputs.size

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the arrays that the model is given beside its main inputs."""
        return tuple(name for name in self.more if name not in OF_THE_LOSS)

    @property
    def has_labels(self) -> bool:
        """Whether the targets are one class a row, int [B]."""
        return self.task in (Task.CLASSIFICATION, Task.BINARY)

    def example(self) -> Any:
        """Return what a model is given, for one row, as shapes and types with a leading axis 1."""
        main = jax.ShapeDtypeStruct((1, *self.inputs.shape), "int32" if self.kind is Kind.TOKENS else "float32")
        if not self.beside:
            return main
        return {"main": main} | {
            n: jax.ShapeDtypeStruct((1, *self.more[n].shape), self.more[n].dtype) for n in self.beside
        }


class Source(Protocol):
    """Random access to rows of one data set.

    `published` holds the row numbers of the splits that the data set's authors fixed (`{"test": ...}`);
    the rest is left to `dltrain.data.split`.

    Where rows continue one another (windows of a text), `spec.more` may have `at`, int32 [], the step at which a
    row begins, and the source `at`, the same of all rows, int [N].
    """

    spec: Spec
    fingerprint: str
    published: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        """Return the number of rows, all splits together."""
        ...

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Read `inputs` and `targets` of these rows, int [B] -> arrays with leading axis B."""
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

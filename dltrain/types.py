"""What everyone may import: batches, specs, tasks and the protocols between the floors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Protocol

import jax
import numpy as np

Array = jax.Array
"""A device array. Shape legend: B batch, H W C image, L length, F features, K classes."""

Batch = Mapping[str, Any]
"""`inputs [B, ...]`, `targets [B, ...]`, `mask [B]` (False marks a padding row), and what a source adds
(`lengths [B]`, `loss_mask [B, L]`, `weights [B]`). Every array has the leading axis B."""


class Task(StrEnum):
    """What the targets are: which loss, metrics and output size follow."""

    CLASSIFICATION = "classification"  # targets int [B] in 0..K-1; outputs [B, K] logits
    BINARY = "binary"  # targets int [B] in 0..1; outputs [B, 1], one logit
    REGRESSION = "regression"  # targets float [B, T]; outputs [B, T]


class Kind(StrEnum):
    """What one row of the inputs is: how it is scaled and drawn."""

    TABLE = "table"  # [F]
    IMAGE = "image"  # [H, W, C]
    SEQUENCE = "sequence"  # [L, F]


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

    @property
    def outputs(self) -> int:
        """How many numbers a model must return for each row."""
        match self.task:
            case Task.CLASSIFICATION:
                return len(self.classes)
            case Task.BINARY:
                return 1
            case Task.REGRESSION:
                return self.targets.size


class Source(Protocol):
    """Random access to rows of one data set.

    `published` holds the row numbers of the splits that the data set's authors fixed (`{"test": ...}`);
    the rest is left to `dltrain.data.split`.
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


@dataclass(frozen=True)
class NamedIn:
    """Marks a parameter that YAML fills with a name: a public function of `module`.

    With `call` the function is a factory and is called without arguments (`he_normal` -> `he_normal()`).
    """

    module: str
    call: bool = False


Activation = Annotated[Callable[[Array], Array], NamedIn("dltrain.activations")]
Initializer = Annotated[Callable[..., Array], NamedIn("dltrain.initializers", call=True)]

"""Split examples into train, validation and test: a function of the labels and the split seed alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dltrain.errors import DataError


@dataclass(frozen=True)
class Splits:
    """Indices of the examples of each split, int32, sorted; `validation` or `test` may be empty."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the indices of the split of that name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


NAMES = ("train", "validation", "test")


def make_splits(
    labels: np.ndarray | None,
    examples: int,
    *,
    published: Mapping[str, np.ndarray],
    validation: float,
    test: float,
    seed: int,
    folds: int | None = None,
    fold: int = 0,
) -> Splits:
    """Split the examples; published splits are kept unchanged.

    Args:
        labels: int [examples], to stratify by; None for a regression.
        examples: number of examples.
        published: indices of the splits that the authors of the data fixed (`test`, `validation`).
        validation: fraction of the examples left after the test split that become validation, 0 for none.
        test: fraction of all examples that become test where none is published, 0 for none.
        folds: number of stratified folds to cut the examples left for training into; fold number `fold` is
            validation, instead of a published or drawn split.
        fold: index of the validation fold, from 0.
        seed: `data.split_seed`; not the seed of the run, so that a sweep over seeds compares the same examples.
    """
    if folds:
        published = {name: i for name, i in published.items() if name != "validation"}
    left = np.ones(examples, bool)
    for taken in published.values():
        left[taken] = False
    rest = np.flatnonzero(left)
    held: dict[str, np.ndarray] = {name: np.sort(np.asarray(i)) for name, i in published.items()}
    for number, (name, fraction) in enumerate((("test", test), ("validation", validation))):
        if name in held:
            continue
        rng = np.random.default_rng([seed, number])
        mine = None if labels is None else labels[rest]
        if folds and name == "validation":
            taken, fraction = _fold(mine, len(rest), folds, fold, rng), 1 / folds
        else:
            taken = _draw(mine, len(rest), fraction, rng)
        held[name] = rest[taken]
        if fraction > 0 and not len(held[name]):
            raise DataError(
                f"data.{name}={fraction}: leaves no example for {name} ({len(rest)} examples to take from); "
                f"try a larger fraction, or data.{name}=0 for no {name} split"
            )
        rest = np.delete(rest, taken)
    if not len(rest):
        raise DataError(
            f"no example is left for training ({examples} examples); try a smaller data.validation or data.test"
        )
    return Splits(*(i.astype(np.int32) for i in (rest, held["validation"], held["test"])))


def _fold(labels: np.ndarray | None, examples: int, folds: int, fold: int, rng: np.random.Generator) -> np.ndarray:
    """Deal examples out to the folds, class by class and in random order; return those of one fold, sorted."""
    if examples < folds:
        raise DataError(f"data.folds={folds}: there are only {examples} examples to split")
    order = rng.permutation(examples)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    return np.sort(order[fold::folds])


def _draw(labels: np.ndarray | None, examples: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a fraction of the examples, of each class in proportion (largest remainders), sorted."""
    total = round(examples * fraction)
    if labels is None:
        return np.sort(rng.permutation(examples)[:total])
    counts = np.bincount(labels)
    exact = counts * fraction
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: total - quota.sum()]] += 1
    order = rng.permutation(examples)
    rank = np.empty(examples, int)  # rank of each example among those of its class, in random order
    for label in range(len(counts)):
        mine = order[labels[order] == label]
        rank[mine] = np.arange(len(mine))
    return np.flatnonzero(rank < quota[labels])

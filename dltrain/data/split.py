"""Split examples into train, validation and test: a function of what is given here and the split seed alone."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dltrain.data.draws import deal_folds, deal_groups, draw_groups, draw_last, draw_stratified
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

    def to_npz(self) -> bytes:
        """Return the indices as an .npz file, with an array for each split."""
        packed = io.BytesIO()
        np.savez_compressed(packed, train=self.train, validation=self.validation, test=self.test)
        return packed.getvalue()


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
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> Splits:
    """Split the examples; published splits are kept unchanged.

    Args:
        labels: int [examples], to stratify by; None to draw at random.
        examples: number of examples.
        published: indices of the splits that the authors of the data fixed (`test`, `validation`).
        validation: fraction of the examples left after the test split that become validation, 0 for none.
        test: fraction of all examples that become test where none is published, 0 for none.
        folds: number of stratified folds to cut the examples left for training into; fold number `fold` is
            validation, instead of a published or drawn split.
        fold: index of the validation fold, from 0.
        seed: `data.split_seed`; not the seed of the run, so that a sweep over seeds compares the same examples.
        groups: int [examples]; no group is divided, and labels do not matter.
        times: [examples], rising with time; validation is after train, test is last, and the seed does not matter.
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
        mine, kin = (None if values is None else values[rest] for values in (labels, groups))
        if folds and name == "validation":
            fraction = 1 / folds
            if kin is None:
                taken = deal_folds(mine, len(rest), folds, fold, rng)
            else:
                taken = deal_groups(kin, folds, fold, rng)
        elif kin is not None:
            taken = draw_groups(kin, fraction, rng)
        elif times is not None:
            taken = draw_last(times[rest], fraction)
        else:
            taken = draw_stratified(mine, len(rest), fraction, rng)
        held[name] = rest[taken]
        if fraction > 0 and not len(held[name]):
            whole = "" if kin is None else f" in {len(np.unique(kin))} groups, which are not divided"
            raise DataError(
                f"data.{name}={fraction}: leaves no example for {name} ({len(rest)} examples to take from{whole}); "
                f"try a larger fraction, or data.{name}=0 for no {name} split"
            )
        rest = np.delete(rest, taken)
    if not len(rest):
        raise DataError(
            f"data.validation, data.test: no example of {examples} is left for training; try smaller fractions"
        )
    return Splits(*(i.astype(np.int32) for i in (rest, held["validation"], held["test"])))

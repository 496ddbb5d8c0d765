"""New examples as arrays: an `.npz` file with the inputs by name, or an `.npy` file with the one input."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from dltrain.data.bad import Bad
from dltrain.data.records.block import Block
from dltrain.data.sources.files import check_file
from dltrain.data.sources.npz import DAMAGED
from dltrain.errors import DataError
from dltrain.types import Spec, alone_or_named

LARGEST = 1 << 40  # bytes of a file
BYTES = 1 << 26  # of examples that are taken together
TARGETS = "targets"


class Arrays:
    """Arrays as examples; those with a number that is not finite are bad.

    Attributes:
        total: number of examples.
        measure: examples.
    """

    measure = "examples"

    def __init__(self, path: Path, spec: Spec, *, targets: bool = False) -> None:
        """Open a file; an `.npy` file is memory-mapped.

        Args:
            path: the file.
            spec: the features of the data.
            targets: whether an array `targets` in the file is read, too.

        Raises:
            DataError: it cannot be read, or lacks an input.
        """
        check_file(path, most=LARGEST)
        stored = _read(path, (*spec.inputs, "inputs", *([TARGETS] if targets else [])))
        self._path, self._inputs = path, _inputs(stored, spec, path)
        self._others = {name: stored[name] for name in (TARGETS,) if name in stored and name not in spec.inputs}
        lengths = {n: len(a) if a.ndim else -1 for n, a in (*self._inputs.items(), *self._others.items())}
        if len(set(lengths.values())) > 1 or min(lengths.values()) < 1:
            raise DataError(f"{path}: expected arrays of equal length, found {lengths}")
        self.total = next(iter(lengths.values()))

    def blocks(self) -> Iterator[Block]:
        """Take the examples in their order."""
        size = sum(array.nbytes for array in self._inputs.values()) // self.total
        step = max(1, BYTES // max(1, size))
        for start in range(0, self.total, step):
            part = {name: np.asarray(array[start : start + step]) for name, array in self._inputs.items()}
            count = len(next(iter(part.values())))
            valid, bad = np.ones(count, bool), []
            for name, array in part.items():
                if np.issubdtype(array.dtype, np.floating):
                    finite = np.isfinite(array.reshape(count, -1)).all(1)
                    wrong = f"{name}: found NaN or infinity, expected finite numbers"
                    at = np.flatnonzero(~finite & valid)
                    bad += [Bad(str(self._path), f"example {start + i}", "", wrong) for i in at.tolist()]
                    valid &= finite
            inputs = part if valid.all() else jax.tree.map(lambda array, good=valid: array[good], part)
            ids = {"example": np.arange(start, start + count)}
            others = {name: array[start : start + count][valid] for name, array in self._others.items()}
            yield Block(alone_or_named(inputs) if valid.any() else None, valid, ids, bad, count, others or None)

    def notes(self) -> Sequence[str]:
        """Return nothing."""
        return ()


def _read(path: Path, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """Return the arrays of these names that a file has; that of an `.npy` file is `inputs`."""
    try:
        if path.suffix.lower() == ".npy":
            return {"inputs": np.load(path, mmap_mode="r", allow_pickle=False)}
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if name in names}
    except (OSError, *DAMAGED) as error:
        raise DataError(f"{path}: is not a readable .npz or .npy file ({error})") from error


def _inputs(found: Mapping[str, np.ndarray], spec: Spec, path: Path) -> dict[str, np.ndarray]:
    """Return the inputs by name: those of the spec, or for a single one also `inputs`."""
    if len(spec.inputs) == 1 and "inputs" in found:
        return {spec.input_name: found["inputs"]}
    if lost := [name for name in spec.inputs if name not in found]:
        raise DataError(f"{path}: has no array {lost[0]}; expected an .npz file with {', '.join(spec.inputs)}")
    return {name: found[name] for name in spec.inputs}

"""A text split into windows of characters, whose next character is to be predicted: for language models."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.download import fetch
from dltrain.data.sources.files import read_file
from dltrain.data.sources.fingerprint import fingerprint
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import BelowOne, Size
from dltrain.types import Feature, Kind, Spec, alone_or_named


class Characters:
    """Windows of a UTF-8 text: inputs int32 [L], targets int32 [L], the characters that follow each of the inputs.

    The vocabulary is every distinct character of the whole file, validation and test included, in the order of
    their code points. The text is split in file order, training first and test last, and no window crosses the
    border of a split. Training windows begin every `stride` characters; those of validation and test follow one
    another, so that each of their characters is predicted once. What is left at the end of a split is dropped.

    Args:
        path: the text; line ends are kept unchanged, a byte order mark is removed.
        length: characters in a window.
        stride: characters from the start of a training window to the start of the next; None for `length`.
        name: instead of `path`, the folder of a published text below `$DLTRAIN_DATA` or the cache.
        file: its `name` and `sha256`, which is checked when it is downloaded.
        mirrors: URLs of folders to download it from, tried in turn.
        validation: `data.validation`, a fraction of the characters that are not in the test split.
        test: `data.test`, a fraction of all characters.
        stateful: whether each window is given with its `position` in the text, int32 [] (`model.stateful=true`).

    Raises:
        DataError: the file is missing, is not UTF-8, or is too short for a window in each split.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        length: Size = 64,
        stride: Size | None = None,
        name: str | None = None,
        file: Mapping[str, str] | None = None,
        mirrors: Sequence[str] = (),
        validation: BelowOne = 0.1,
        test: BelowOne = 0.0,
        stateful: bool = False,
    ) -> None:
        if stateful and length % (stride or length):
            raise ConfigError(
                f"data.stride={stride}: with model.stateful=true a window begins where another ends, so the "
                f"stride must divide data.length={length}; null always does"
            )
        found = _find(path, name, file, mirrors)
        self._codes, vocabulary = _encode(_text(found))
        held = len(self._codes)
        last = held - round(held * test)
        middle = last - round(last * validation)
        borders = {"train": (0, middle), "validation": (middle, last), "test": (last, held)}
        starts = {
            split: np.arange(low, high - length, stride or length if split == "train" else length)
            for split, (low, high) in borders.items()
        }
        for split, (low, high) in borders.items():
            if not len(starts[split]) and (high > low or split == "train"):
                raise DataError(
                    f"{found}: {high - low} of its {held} characters are for {split}, and data.length={length} "
                    f"needs at least {length + 1}; try a longer text or a smaller data.length"
                )
        self.position, self._length = np.concatenate(list(starts.values())), length
        ends = np.cumsum([len(s) for s in starts.values()])
        self.published: Mapping[str, np.ndarray] = {
            "validation": np.arange(ends[0], ends[1]),
            "test": np.arange(ends[1], ends[2]),
        }
        window = Feature(Kind.TOKENS, (length,), "int32", vocabulary=vocabulary)
        position = {"position": Feature(Kind.POSITION, (), "int32")} if stateful else {}
        self.spec = Spec({"text": window, **position}, {"next": window})
        self.fingerprint = fingerprint({"codes": self._codes, "vocabulary": np.array(vocabulary)})

    def __len__(self) -> int:
        """Return the number of windows, all splits together."""
        return len(self.position)

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read these windows of the text, int [B]."""
        position = self.position[indices]
        windows = self._codes[position[:, None] + np.arange(self._length + 1)[None, :]].astype(np.int32)
        inputs = {"text": windows[:, :-1], "position": position.astype(np.int32)}
        return {
            "inputs": alone_or_named({name: inputs[name] for name in self.spec.inputs}),
            "targets": windows[:, 1:],
        }


def _find(path: str | None, name: str | None, file: Mapping[str, str] | None, mirrors: Sequence[str]) -> Path:
    if path is not None:
        return Path(path).expanduser().absolute()
    if name is None:
        raise ConfigError("data.path: missing; set data.path=FILE, a text file")
    if file is None or set(file) != {"name", "sha256"}:
        raise ConfigError("data.file: must give name and sha256")
    parent = os.environ.get("DLTRAIN_DATA")
    if parent and (local := Path(parent).expanduser().absolute() / name / file["name"]).is_file():
        return local
    return fetch(name, {file["name"]: file["sha256"]}, mirrors) / file["name"]


def _text(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8: byte {error.start} is {error.object[error.start]:#04x} ({error.reason}); "
            "convert it first"
        ) from error


def _encode(text: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number the characters, in the smallest type that holds the numbers."""
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    known = np.flatnonzero(np.bincount(points)) if len(points) else points
    numbers = np.zeros(int(known[-1]) + 1 if len(known) else 0, np.min_scalar_type(len(known)))
    numbers[known] = np.arange(len(known))
    return numbers[points], tuple(map(chr, known))

"""A column of a table that names image files: each image becomes an input of its own."""

import io
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.description import Where
from dltrain.data.images.convert import Images, Unreadable, decode_all
from dltrain.data.images.decode import ENDINGS, MODES
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.images.files import read_file
from dltrain.errors import DataError
from dltrain.types import Feature


@dataclass(frozen=True)
class ImageColumn:
    """How the images of a column are decoded.

    Attributes:
        encoder: decodes one.
        indicator: whether any name was missing in training; a missing image is black.
    """

    encoder: ImageEncoder
    indicator: bool = False

    @property
    def feature(self) -> Feature:
        """The input."""
        return self.encoder.feature

    def decode(self, names: Sequence[str | None], where: Where) -> np.ndarray:
        """Decode files, uint8 [N, size, size, channels].

        Args:
            names: paths; None for a missing image.
            where: what a message calls the place of a name.

        Raises:
            DataError: a file does not exist, or is not an image.
        """
        found = np.zeros((len(names), *self.feature.shape), np.uint8)
        for i, name in enumerate(names):
            if name is not None:
                found[i] = self._one(name, where(i))
        return found

    def problems(self, names: Sequence[str | None]) -> dict[int, str]:
        """Return what is wrong with names that `decode` refuses, by their places."""
        found = {}
        for i, name in enumerate(names):
            try:
                if name is not None:
                    self._one(name, "")
            except DataError as error:
                found[i] = str(error).removeprefix(": ")
        return found

    def open(self, names: Sequence[str | None], where: Where, *, what: str) -> Images:
        """Decode files once, into dltrain's cache, and open them there; `what` is for the progress bar."""
        stamps = [_stamp(name, where(i)) if name is not None else None for i, name in enumerate(names)]
        black = _black(self.encoder.channels)

        def read(index: int) -> bytes:
            name = names[index]
            return black if name is None else read_file(Path(name))

        key = {"files": [[name, stamp] for name, stamp in zip(names, stamps, strict=True)]}
        try:
            return decode_all(read, len(names), key=key, what=what, strict=True, **self.encoder.settings)
        except Unreadable as error:
            raise DataError(f"{where(error.index)}: {names[error.index]} {error.why}") from error

    def _one(self, name: str, where: str) -> np.ndarray:
        _stamp(name, where)
        try:
            return self.encoder.one(read_file(Path(name)))
        except OSError as error:
            raise DataError(f"{where}: {name} cannot be read ({error.strerror or error})") from error
        except DataError as error:
            raise DataError(f"{where}: {name} {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the settings."""
        return self.encoder.to_json() | {"indicator": self.indicator}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "ImageColumn":
        """Read what `to_json` returned."""
        return cls(ImageEncoder.from_json(saved), saved["indicator"])


def names_images(values: Any, folders: Sequence[Path]) -> bool:
    """Tell whether texts, a polars series, name image files, of which the first is in one of the folders."""
    pattern = f"(?i)({'|'.join(map(re.escape, ENDINGS))})$"
    return values.str.contains(pattern).all() and any(os.path.isfile(folder / values[0]) for folder in folders)


def _stamp(name: str, where: str) -> list[int]:
    """Return size and time of the last change of a file."""
    try:
        state = Path(name).stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: {name}: no such file") from error
    if not stat.S_ISREG(state.st_mode):
        raise DataError(f"{where}: {name} is not a file")
    return [state.st_size, state.st_mtime_ns]


def _black(channels: int) -> bytes:
    """Return the content of a black image."""
    from PIL import Image

    content = io.BytesIO()
    Image.new(MODES[channels], (1, 1)).save(content, "PNG")
    return content.getvalue()

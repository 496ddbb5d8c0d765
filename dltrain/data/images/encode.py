"""Images as people have them -> the arrays of a model's input."""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Problem
from dltrain.data.images.decode import Resize, decode
from dltrain.data.images.files import read_file
from dltrain.errors import DataError
from dltrain.types import Feature, Kind

BRIGHTEST = 255
LISTS = (list, tuple, np.ndarray)


@dataclass(frozen=True)
class ImageEncoder:
    """How images are decoded and resized; see `dltrain.data.preprocess.step.Encoder`.

    Attributes:
        size: height and width.
        resize: how other proportions become a square.
        channels: 1, 3 or 4.
        brightest: what 255 becomes, for data whose images have other levels.
    """

    size: int
    resize: Resize = Resize.CROP
    channels: int = 3
    brightest: int = BRIGHTEST

    @property
    def feature(self) -> Feature:
        """The input."""
        return Feature(Kind.IMAGE, (self.size, self.size, self.channels), "uint8")

    @property
    def features(self) -> dict[str, Feature]:
        """The input that `encode` returns, by name."""
        return {"image": self.feature}

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of `decode`."""
        return {"size": self.size, "resize": self.resize, "channels": self.channels}

    def encode(self, records: Any) -> Any:
        """Return images, uint8 [N, size, size, channels]; such an array stays as it is.

        Args:
            records: a list of images: of PIL, paths of files, contents of files (bytes), or uint8 [H, W] or
                [H, W, C]. Of a dict with such a list, the list is replaced; whoever uses it checks the name.

        Raises:
            DataError: one is not an image; names its place.
        """
        if isinstance(records, np.ndarray) and records.shape[1:] == self.feature.shape:
            return records
        if isinstance(records, Mapping):
            alone = len(records) == 1 and all(isinstance(images, LISTS) for images in records.values())
            return {name: self.encode(images) for name, images in records.items()} if alone else records
        if not isinstance(records, LISTS):
            raise DataError(f"inputs: expected a list of images, found {type(records).__name__}")
        found = np.zeros((len(records), *self.feature.shape), np.uint8)
        for i, image in enumerate(records):
            try:
                found[i] = self.one(image)
            except DataError as error:
                raise DataError(f"inputs: image {i} {error}") from error
        return found

    def problems(self, records: Any) -> dict[int, Problem]:
        """Return what is wrong with images that `encode` refuses, by their places."""
        found = {}
        for i, image in enumerate(records):
            try:
                self.one(image)
            except DataError as error:
                found[i] = Problem("", str(error))
        return found

    def one(self, image: Any) -> np.ndarray:
        """Return one image, uint8 [size, size, channels].

        Raises:
            DataError: it is not an image; says what is wrong.
        """
        found = decode(_content(image), **self.settings)
        scale = self.brightest / BRIGHTEST
        return found if scale == 1 else np.rint(found * scale).astype(np.uint8)

    def to_json(self) -> dict[str, Any]:
        """Return the settings."""
        return asdict(self) | {"resize": str(self.resize)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "ImageEncoder":
        """Read what `to_json` returned."""
        size, channels = (int(saved[name]) for name in ("size", "channels"))
        return cls(size, Resize(saved["resize"]), channels, int(saved.get("brightest", BRIGHTEST)))


def _content(image: Any) -> bytes:
    """Return the content of an image file: given, read from its path, or written from an image in memory."""
    from PIL import Image

    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return read_file(Path(image))
        except (OSError, ValueError) as error:
            raise DataError(f"{image}: cannot be read ({getattr(error, 'strerror', '') or error})") from error
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise DataError(f"is {image.dtype} {list(image.shape)}, expected uint8 [H, W] or [H, W, C]")
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    if not isinstance(image, Image.Image):
        raise DataError(f"is of type {type(image).__name__}, expected a PIL image, a path, bytes or an array")
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()

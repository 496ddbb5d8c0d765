"""A file -> an image of a fixed size: uint8 [size, size, channels].

The rule, in this order:

1. The first frame of JPEG, PNG, BMP, WebP or GIF. The header is read first: more than MOST_PIXELS pixels are
   refused before anything is decoded. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that still is at least
   twice the wanted size, which is several times as fast.
2. It is turned as its EXIF orientation says.
3. 16 bits per channel become 8 by dividing by 257 and rounding. Palettes become colours. Transparent pixels are
   laid over white, unless four channels are wanted. One channel is the ITU-R 601 luma; a grey image has three equal
   ones.
4. It is resized with Pillow's bilinear filter, which averages over the pixels that become one (antialiased).
   `crop`: the largest square in the middle; `pad`: the whole image in the middle of black; `stretch`: both sides
   become the size, whatever the proportions. Smaller images are enlarged likewise.
"""

import io
import warnings
from enum import StrEnum
from typing import Any

import numpy as np

from dltrain.errors import ConfigError, DataError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF")
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif")
MOST_PIXELS = 80_000_000  # below Pillow's own limit
MOST_BYTES = 1 << 28  # of a file
DEEP = ("I", "I;16", "I;16B", "I;16L")  # Pillow's modes of 16 bits per pixel
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
DRAFT = 2  # times the wanted size that a JPEG is decoded at, at least


class Resize(StrEnum):
    """How an image of other proportions becomes a square."""

    CROP = "crop"  # the largest square in the middle
    PAD = "pad"  # black borders
    STRETCH = "stretch"  # the proportions change


def decode(data: bytes, *, size: int, resize: Resize, channels: int) -> np.ndarray:
    """Decode the content of a file: uint8 [size, size, channels].

    Raises:
        DataError: it is not an image of a known format, has too many pixels, or is damaged; says what is wrong.
    """
    from PIL import Image, ImageOps

    if not data:
        raise DataError("is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damaged metadata
        try:
            image: Any = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise DataError(f"has more than {MOST_PIXELS:,} pixels") from error
        except Exception as error:
            raise DataError(f"is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image{_began(data)}") from error
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise DataError(f"has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,}")
        try:
            image.draft(None, (DRAFT * size, DRAFT * size))
            image.load()
            image = ImageOps.exif_transpose(image)
            return np.array(_resized(_converted(image, MODES[channels]), size, resize)).reshape(
                size, size, channels
            )
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises many kinds for damaged files
            raise DataError(f"is damaged ({error or type(error).__name__})") from error


def check_channels(channels: int, key: str) -> None:
    """Raise ConfigError unless images can have this many channels; `key` is that of the data's YAML."""
    if channels not in MODES:
        raise ConfigError(f"data.{key}={channels}: expected 1 (grey), 3 (colour) or 4 (with transparency)")


def _converted(image: Any, mode: str) -> Any:
    """Convert to the mode, with transparent pixels laid over white."""
    from PIL import Image

    if image.mode in DEEP:
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    clear = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if mode == "RGBA" or not clear:
        return image.convert(mode)
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert(mode)


def _resized(image: Any, size: int, resize: Resize) -> Any:
    from PIL import Image

    width, height = image.size
    if resize is Resize.STRETCH:
        return image.resize((size, size), Image.Resampling.BILINEAR)
    if resize is Resize.CROP:
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    small = image.resize(tuple(max(1, round(side * scale)) for side in (width, height)), Image.Resampling.BILINEAR)
    padded = Image.new(image.mode, (size, size))  # zeros: black, or transparent
    padded.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return padded


def _began(data: bytes) -> str:
    """Say what a file is that only has the name of an image."""
    if data.startswith(b"\xff\xd8\xff"):
        return " that can be read: the header of the JPEG is damaged"
    if data.startswith(b"\x89PNG"):
        return " that can be read: the header of the PNG is damaged"
    if data.startswith((b"II*\0", b"MM\0*")):
        return ": it is a TIFF, convert it"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return ": it is a HEIC, convert it"
    if data.lstrip()[:1] == b"<":
        return ": it is an SVG, HTML or XML text"
    return ""

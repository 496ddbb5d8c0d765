"""Decode many images once, into dltrain's cache: arrays that are memory-mapped, and need not fit into memory."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dltrain.data.images.decode import MOST_BYTES, Resize, decode
from dltrain.data.store import Column, Store, open_store
from dltrain.errors import DataError

RULE = 1  # the version of the rule in `decode`: another one makes other arrays
BLOCK = 64  # images
HASH = 16  # bytes

Read = Callable[[int], bytes]
"""Index of an image -> the content of its file; raises DataError or OSError."""


@dataclass(frozen=True)
class Images:
    """Decoded images.

    Attributes:
        pixels: uint8 [N, size, size, channels], memory-mapped; zeros for a bad one.
        files: hashes of the content of the files, uint8 [N, 16].
        contents: hashes of the pixels, uint8 [N, 16].
        bad: index -> what is wrong, of those that cannot be read.
        store: keeps the files of the cache.
    """

    pixels: np.ndarray
    files: np.ndarray
    contents: np.ndarray
    bad: Mapping[int, str]
    store: Store


def decode_all(
    read: Read,
    count: int,
    *,
    key: Mapping[str, Any],
    size: int,
    resize: Resize,
    channels: int,
    what: str,
    strict: bool,
) -> Images:
    """Decode the images, or open what was decoded before.

    Args:
        read: returns the content of a file.
        count: number of images.
        key: what identifies the files and their content, as plain JSON.
        size: height and width.
        resize: how other proportions become a square.
        channels: 1, 3 or 4.
        what: the folder, for messages.
        strict: whether to stop at the first image that cannot be read.
    """
    from PIL import __version__ as pillow

    def convert(first: int, end: int) -> tuple[dict[str, np.ndarray], Any]:
        pixels = np.zeros((end - first, size, size, channels), np.uint8)
        hashes, bad = np.zeros((end - first, 2, HASH), np.uint8), {}
        for i in range(end - first):
            try:
                data = _content(read, first + i)
                pixels[i] = decode(data, size=size, resize=resize, channels=channels)
                hashes[i] = _hash(data), _hash(pixels[i].data)
            except DataError as error:
                bad[str(first + i)] = str(error)
                if strict:
                    raise Unreadable(first + i, str(error)) from error
        return {"pixels": pixels, "hashes": hashes}, bad

    settings = {"size": size, "resize": str(resize), "channels": channels, "rule": RULE, "pillow": pillow}
    columns = {"pixels": Column((size, size, channels), "uint8"), "hashes": Column((2, HASH), "uint8")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata; set here, since filters belong to all threads
        store = open_store(
            {**key, **settings},
            columns,
            count,
            block=BLOCK,
            convert=convert,
            what=f"decoding {what}",
            unit="images",
        )
    bad = {int(index): why for note in store.notes for index, why in note.items()}
    return Images(store.arrays["pixels"], *store.arrays["hashes"].swapaxes(0, 1), bad, store)


class Unreadable(DataError):
    """The first image that cannot be read."""

    def __init__(self, index: int, why: str) -> None:
        """Store which image it is."""
        super().__init__(why)
        self.index, self.why = index, why


def _content(read: Read, index: int) -> bytes:
    try:
        data = read(index)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})") from error
    if len(data) > MOST_BYTES:
        raise DataError(f"has {len(data):,} bytes, more than {MOST_BYTES:,}")
    return data


def _hash(data: Any) -> np.ndarray:
    return np.frombuffer(hashlib.blake2b(data, digest_size=HASH).digest(), np.uint8)


def find_equal(hashes: np.ndarray, names: Sequence[str], targets: np.ndarray) -> list[str]:
    """Return notes about images whose files are equal; those with other targets first."""
    _, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    earlier = first[inverse.reshape(-1)]
    later = np.flatnonzero(earlier != np.arange(len(hashes)))
    pairs = [(int(i), int(earlier[i]), not np.array_equal(targets[i], targets[earlier[i]])) for i in later]
    notes = []
    for others, what in ((True, " with another target"), (False, "")):
        found = [f"{names[i]} equals {names[j]}" for i, j, other in pairs if other == others]
        if found:
            listed = "; ".join(found[:3]) + "; ..." * (len(found) > 3)
            notes.append(f"{len(found)} image{'s' * (len(found) > 1)} equal to another one{what}: {listed}")
    return notes

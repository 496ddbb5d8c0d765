"""Images in the idx format of MNIST: every byte is checked, and missing files are downloaded."""

import math
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dltrain.data.check import check_labels
from dltrain.data.download import fetch
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.errors import ConfigError, DataError
from dltrain.types import Kind

FILES = ("train_images", "train_labels", "test_images", "test_labels")
UNSIGNED_BYTE = 8  # the format's code for the type of the elements
LARGEST = 1 << 32  # bytes in one file; more would not fit on the device either
DEFLATE = 1032  # the largest compression ratio of deflate (https://zlib.net/zlib_tech.html)
CHUNK = 1 << 18


def load_images(
    *,
    name: str,
    classes: Sequence[str],
    files: Mapping[str, Mapping[str, str]],
    root: str | None = None,
    mirrors: Sequence[str] = (),
) -> Rows:
    """Load grey images uint8 [H, W, 1] with labels; the published test set comes last.

    Args:
        name: name of the data set and of its folder below `$DLTRAIN_DATA` or the cache.
        classes: names of the classes, in the order of the labels.
        files: `train_images`, `train_labels`, `test_images`, `test_labels`, each `{name, sha256}`. The checksum is
            verified when a file is downloaded, not for files in `root` or `$DLTRAIN_DATA`.
        root: the folder that holds the files, compressed or not (without `.gz`); None for `$DLTRAIN_DATA/<name>`
            if that exists, else the files are downloaded to the cache.
        mirrors: URLs of folders to download from, tried in turn.

    Raises:
        DataError: a folder or file is missing, a file is damaged, or the files don't fit together.
    """
    for part in FILES:
        if set(files.get(part, ())) != {"name", "sha256"}:
            raise ConfigError(f"data.files.{part}: must give name and sha256")
    paths = _find(name, {files[part]["name"]: files[part]["sha256"] for part in FILES}, root, mirrors)
    train, test = _read_pair(*paths[:2], len(classes)), _read_pair(*paths[2:], len(classes))
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"{paths[2]}: images of {_by(test[0].shape[1:])}, but {paths[0].name} has {_by(train[0].shape[1:])}"
        )
    inputs = np.concatenate([train[0], test[0]])[..., None]
    return make_rows(
        {"inputs": inputs, "targets": np.concatenate([train[1], test[1]]).astype(np.int32)},
        published={"test": np.arange(len(train[0]), len(inputs))},
        kind=Kind.IMAGE,
        classes=tuple(classes),
    )


def read_idx(path: Path, *, axes: int) -> np.ndarray:
    """Read an idx file of unsigned bytes, compressed (`.gz`) or not: uint8 with `axes` axes.

    The format (http://yann.lecun.com/exdb/mnist): two zero bytes, the type, the number of axes, the size of
    each axis (32 bits, high byte first), the elements. Sizes are checked before memory is allocated.
    """
    try:
        with path.open("rb") as stream:
            return _read_packed(stream, path, axes) if path.suffix == ".gz" else _read_plain(stream, path, axes)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except zlib.error as error:
        raise DataError(f"{path}: the gzip data is damaged ({error}); fetch the file again") from error


def _read_plain(stream: BinaryIO, path: Path, axes: int) -> np.ndarray:
    shape = _shape(stream.read(4 + 4 * axes), path, axes)
    found, wanted = os.fstat(stream.fileno()).st_size - (4 + 4 * axes), math.prod(shape)
    if found != wanted:
        raise DataError(f"{path}: {found} bytes follow the header, which declares {wanted} ({_by(shape)})")
    return np.fromfile(stream, np.uint8, wanted).reshape(shape)


def _read_packed(stream: BinaryIO, path: Path, axes: int) -> np.ndarray:
    unpack = zlib.decompressobj(wbits=31)  # 31: gzip with its own header, checksum and length
    header = unpack.decompress(stream.read(CHUNK), 4 + 4 * axes)
    shape = _shape(header, path, axes)
    wanted, packed = math.prod(shape), os.fstat(stream.fileno()).st_size
    if wanted > packed * DEFLATE:
        raise DataError(
            f"{path}: {packed} compressed bytes cannot hold the {wanted} that the header declares ({_by(shape)})"
        )
    elements, done = np.empty(wanted, np.uint8), 0
    data = unpack.unconsumed_tail
    while not unpack.eof:
        piece = unpack.decompress(data, wanted - done + 1)  # one more, to notice a file that is too long
        if done + len(piece) > wanted:
            raise DataError(f"{path}: holds more than the {wanted} bytes that its header declares ({_by(shape)})")
        elements[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
        data = unpack.unconsumed_tail or stream.read(CHUNK)
        if not data and not unpack.eof:
            raise DataError(
                f"{path}: ends early: {done} of {wanted} bytes decompressed, "
                f"record {min(done // math.prod(shape[1:]), shape[0])} of {shape[0]} is incomplete"
            )
    if done != wanted:
        raise DataError(f"{path}: {done} bytes follow the header, which declares {wanted} ({_by(shape)})")
    if unpack.unused_data or stream.read(1):
        raise DataError(f"{path}: there is data after the end of the gzip data")
    return elements.reshape(shape)


def _shape(header: bytes, path: Path, axes: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * axes:
        raise DataError(f"{path}: ends within the header: {len(header)} bytes, expected {4 + 4 * axes}")
    zeros, kind, found = header[:2], header[2], header[3]
    if zeros != b"\0\0" or not found:
        raise DataError(
            f"{path}: is not an idx file: it starts with {header[:4].hex(' ')}, expected 00 00 08 {axes:02x}"
        )
    if kind != UNSIGNED_BYTE or found != axes:
        raise DataError(
            f"{path}: elements of type {kind:#04x} on {found} axes, expected 0x08 (unsigned bytes) on {axes}"
        )
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
    if not 0 < math.prod(shape) <= LARGEST:
        raise DataError(f"{path}: the header declares {_by(shape)} elements, expected 1 to {LARGEST}")
    return shape


def _read_pair(images: Path, labels: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Read images uint8 [N, H, W] and labels uint8 [N]; the labels first, as their file is smaller."""
    y = read_idx(labels, axes=1)
    check_labels(y, classes, name=str(labels))
    x = read_idx(images, axes=3)
    if len(x) != len(y):
        raise DataError(f"{images}: {len(x)} images, but {labels.name} has {len(y)} labels")
    return x, y


def _find(name: str, sums: Mapping[str, str], root: str | None, mirrors: Sequence[str]) -> list[Path]:
    """Return the path of each file, in `root`, `$DLTRAIN_DATA` or the cache."""
    parent = os.environ.get("DLTRAIN_DATA")
    if root is not None:
        folder, source = Path(root).expanduser().absolute(), "data.root"
    elif parent and (Path(parent).expanduser() / name).is_dir():
        folder, source = Path(parent).expanduser().absolute() / name, "$DLTRAIN_DATA"
    else:
        folder, source = fetch(name, sums, mirrors), "cache"
    if not folder.is_dir():
        raise DataError(f"{folder} ({source}): is not a folder; expected one that holds {', '.join(sums)}")
    paths = [next((p for p in _variants(folder / file) if p.is_file()), None) for file in sums]
    missing = [file for file, path in zip(sums, paths, strict=True) if path is None]
    if missing:
        raise DataError(f"{folder} ({source}): lacks {', '.join(missing)} (or the same without .gz)")
    return [path for path in paths if path is not None]


def _variants(path: Path) -> list[Path]:
    return [path, path.with_suffix("")] if path.suffix == ".gz" else [path]


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))

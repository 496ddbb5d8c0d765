"""CIFAR-10 and CIFAR-100 in their binary versions: records of labels and 32x32 pixels.

The format (https://www.cs.toronto.edu/~kriz/cifar.html): 1 byte for the label, then 1,024 bytes of red, 1,024 of
green and 1,024 of blue, each in rows of 32. CIFAR-10 has one file for each batch of 10,000; CIFAR-100 has two
files, and a record begins with two labels: the coarse one of 20, then the fine one of 100.
"""

import lzma
import os
import sys
import zlib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.check import check_labels
from dltrain.data.sources.rows import Rows, make_rows
from dltrain.errors import DataError
from dltrain.types import Kind

SIZE, CHANNELS = 32, 3
RECORD = 1 + CHANNELS * SIZE * SIZE  # bytes
MOST = 50_000 * (RECORD + 1)  # bytes of one file, which may hold all batches
TRAIN, TEST = tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"
WHOLE = ("train.bin", "test.bin")  # of CIFAR-100
SUBFOLDERS = ("cifar-10-batches-bin", "cifar-100-binary")  # in the published archives
XZ_MEMORY = 1 << 28  # bytes that an xz file may ask for
CHUNK = 1 << 20


class Labels(StrEnum):
    """Which labels of CIFAR-100 are the targets."""

    FINE = "fine"  # 100 classes
    COARSE = "coarse"  # 20 groups of them


LABELS = {Labels.COARSE: 0, Labels.FINE: 1}
"""The byte of a record of CIFAR-100 that each is in."""


def load_cifar10(*, name: str, classes: Sequence[str], root: str | None = None) -> Rows:
    """Load colour images uint8 [32, 32, 3] with labels; the test batch comes last.

    Training examples are those of the batches that are there, at least one; a line on stderr names missing ones.

    Args:
        name: of the folder below `$DLTRAIN_DATA`.
        classes: names of the classes, in the order of the labels.
        root: the folder that holds `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, or a folder
            `cifar-10-batches-bin` with them, packed (`.gz`, `.xz`) or not; None for `$DLTRAIN_DATA/NAME`.

    Raises:
        DataError: the folder, the test batch or every training batch is missing, or a file is damaged.
    """
    folder, source = _folder(name, root)
    paths = {file: _find(folder, file) for file in (*TRAIN, TEST)}
    there = [path for file in TRAIN if (path := paths[file])]
    test = paths[TEST]
    if test is None or not there:
        missing = TEST if test is None else f"{TRAIN[0]} (or another of the five training batches)"
        raise DataError(f"{folder} ({source}): lacks {missing}, packed or not (.gz, .xz)")
    batches = [read_batch(path, len(classes)) for path in (*there, test)]
    inputs, targets = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    if lost := [file for file in TRAIN if paths[file] is None]:
        found = f"{len(there)} of {len(TRAIN)} training batches ({len(inputs) - len(batches[-1][0]):,} examples)"
        print(f"dltrain: {name}: trains on {found}; {folder} lacks {', '.join(lost)}", file=sys.stderr, flush=True)
    return make_rows(
        {"inputs": inputs, "targets": targets},
        published={"test": np.arange(len(inputs) - len(batches[-1][0]), len(inputs))},
        kind=Kind.IMAGE,
        classes=tuple(classes),
    )


def load_cifar100(
    *,
    name: str,
    classes: Sequence[str],
    superclasses: Sequence[str],
    labels: Labels = Labels.FINE,
    root: str | None = None,
) -> Rows:
    """Load colour images uint8 [32, 32, 3] with labels; the test examples come last.

    Args:
        name: of the folder below `$DLTRAIN_DATA`.
        classes: names of the 100 classes, in the order of the labels.
        superclasses: names of the 20 groups of five classes.
        labels: which of them the targets are: fine, or coarse.
        root: the folder that holds `train.bin` and `test.bin`, or a folder `cifar-100-binary` with them, packed
            (`.gz`, `.xz`) or not; None for `$DLTRAIN_DATA/NAME`.

    Raises:
        DataError: the folder or a file is missing, or a file is damaged.
    """
    folder, source = _folder(name, root, WHOLE)
    paths = [_find(folder, file) for file in WHOLE]
    for file, path in zip(WHOLE, paths, strict=True):
        if path is None:
            raise DataError(f"{folder} ({source}): lacks {file}, packed or not (.gz, .xz)")
    names = classes if labels is Labels.FINE else superclasses
    batches = [read_batch(path, len(names), before=2, at=LABELS[labels]) for path in paths if path]
    inputs, targets = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return make_rows(
        {"inputs": inputs, "targets": targets},
        published={"test": np.arange(len(batches[0][0]), len(inputs))},
        kind=Kind.IMAGE,
        classes=tuple(names),
    )


def read_batch(path: Path, classes: int, *, before: int = 1, at: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Read one file, plain or packed: images uint8 [N, 32, 32, 3] and labels int32 [N].

    A record has `before` bytes of labels; byte `at` is the one that is returned.
    """
    data, record = _unpacked(path), RECORD - 1 + before
    if not data or len(data) % record:
        raise DataError(
            f"{path}: {len(data)} bytes, which is not a number of whole records of {record} bytes "
            f"({'a label' if before == 1 else f'{before} labels'} and {SIZE} x {SIZE} x {CHANNELS} pixels); "
            "fetch the file again"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    labels = records[:, at].astype(np.int32)
    check_labels(labels, classes, name=str(path))
    pixels = records[:, before:].reshape(-1, CHANNELS, SIZE, SIZE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), labels


def _folder(name: str, root: str | None, files: Sequence[str] = (TRAIN[0], TEST)) -> tuple[Path, str]:
    """Return the folder of the files, and where its name comes from."""
    parent = os.environ.get("DLTRAIN_DATA")
    if root is None and parent is None:
        raise DataError(
            f"data.root: {name} is not downloaded; get its binary version from "
            "https://www.cs.toronto.edu/~kriz/cifar.html, unpack it, and set data.root=FOLDER, or "
            f"DLTRAIN_DATA to the folder that contains {name}"
        )
    folder, source = (Path(root), "data.root") if root is not None else (Path(str(parent), name), "$DLTRAIN_DATA")
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise DataError(f"{folder} ({source}): is not a folder; expected one that holds {' and '.join(files)}")
    return folder, source


def _find(folder: Path, file: str) -> Path | None:
    """Return the path of a file, packed or not, in the folder or in that of the published archive."""
    places = (
        place / f"{file}{packed}"
        for place in (folder, *(folder / s for s in SUBFOLDERS))
        for packed in ("", ".gz", ".xz")
    )
    return next((path for path in places if path.is_file()), None)


def _unpacked(path: Path) -> bytes:
    """Return the content of a file, at most MOST bytes of it: a longer one is an error."""
    try:
        with path.open("rb") as stream:
            if path.suffix == ".bin":
                data = stream.read(MOST + 1)
            else:
                data = _unpack(stream, _decompressor(path), path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: the packed data is damaged ({error}); fetch the file again") from error
    if len(data) > MOST:
        raise DataError(f"{path}: holds more than {MOST} bytes; expected at most 50,000 records")
    return data


def _decompressor(path: Path) -> Any:
    """Return an object with `decompress(data, most)`, `eof` and `unused_data`."""
    if path.suffix == ".gz":
        return zlib.decompressobj(wbits=31)  # 31: gzip with its own header, checksum and length
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _unpack(stream: Any, unpack: Any, path: Path) -> bytes:
    pieces, size = [], 0
    while not unpack.eof and size <= MOST:
        # zlib keeps the input that it has not used; lzma holds it inside, and wants nothing until that is used up
        left = getattr(unpack, "unconsumed_tail", b"")
        data = left or (stream.read(CHUNK) if getattr(unpack, "needs_input", True) else b"")
        if not data and getattr(unpack, "needs_input", True):
            raise DataError(f"{path}: ends early, after {size} unpacked bytes; fetch the file again")
        piece = unpack.decompress(data, MOST + 1 - size)
        pieces.append(piece)
        size += len(piece)
    if unpack.eof and (unpack.unused_data or stream.read(1)):
        raise DataError(f"{path}: there is data after the end of the packed data")
    return b"".join(pieces)

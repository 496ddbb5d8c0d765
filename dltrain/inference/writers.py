"""Writes predictions block by block: CSV, JSON lines, Parquet or `.npz`, complete or not at all."""

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from dltrain.errors import ConfigError, DiskError
from dltrain.inference.frames import frame_of
from dltrain.inference.predictions import Predictions

STDOUT = "-"


class Writer(Protocol):
    """Takes the predictions of one block after another."""

    def add(self, ids: Mapping[str, Any], predictions: Predictions | None, valid: np.ndarray) -> None:
        """Write a block.

        Args:
            ids: what identifies the examples, name -> values [N] or [N, H].
            predictions: of the valid examples, [G, ...]; None if there is none.
            valid: which examples are valid, bool [N].
        """
        ...

    def finish(self) -> None:
        """Write what is left."""
        ...

    def close(self) -> None:
        """Close temporary files, whether all was written or not."""
        ...


@contextlib.contextmanager
def open_writer(output: str, *, overwrite: bool, empty: Callable[[], Predictions]) -> Generator[Writer]:
    """Write into a temporary file next to the output, which takes its name when all is written.

    Args:
        output: the path, whose ending selects the format; `-`: CSV on stdout.
        overwrite: whether a file that exists is replaced.
        empty: predictions of no examples, for the columns of blocks without a valid example.

    Raises:
        ConfigError: the ending is unknown, or the file exists.
        DiskError: it cannot be written.
    """
    if output == STDOUT:
        yield CsvWriter(sys.stdout.buffer, empty)
        sys.stdout.flush()
        return
    path = Path(output).expanduser().absolute()
    if path.suffix.lower() not in WRITERS:
        raise ConfigError(f"output={output}: must end in {', '.join(WRITERS)}, which selects the format")
    if path.is_dir() or (path.exists() and not overwrite):
        what = "is a folder" if path.is_dir() else "exists; overwrite=true replaces it"
        raise ConfigError(f"output={output}: {what}")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with contextlib.ExitStack() as after:
            after.callback(draft.unlink, missing_ok=True)
            writer = WRITERS[path.suffix.lower()](draft, empty)
            after.callback(writer.close)
            yield writer
            writer.finish()
            writer.close()
            os.replace(draft, path)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror or error})") from error


class CsvWriter:
    """Comma-separated values with a header."""

    def __init__(self, file: BinaryIO, empty: Callable[[], Predictions]) -> None:
        """Take an open file."""
        self._file, self._empty, self._header = file, empty, True

    def add(self, ids: Mapping[str, Any], predictions: Predictions | None, valid: np.ndarray) -> None:
        """Write a block."""
        frame = frame_of(ids, (predictions or self._empty()).columns, valid=valid)
        self._file.write(frame.write_csv(include_header=self._header).encode())
        self._header = False

    def finish(self) -> None:
        """Write what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonWriter(CsvWriter):
    """An object on each line."""

    def add(self, ids: Mapping[str, Any], predictions: Predictions | None, valid: np.ndarray) -> None:
        """Write a block."""
        frame = frame_of(ids, (predictions or self._empty()).columns, valid=valid)
        self._file.write(frame.write_ndjson().encode())


class ParquetWriter:
    """Parquet: the blocks are files of a temporary folder, which are joined at the end."""

    def __init__(self, draft: Path, empty: Callable[[], Predictions]) -> None:
        """Take the path of the file."""
        self._draft, self._empty, self._count = draft, empty, 0
        self._folder = draft.with_name(f"{draft.name}s")

    def add(self, ids: Mapping[str, Any], predictions: Predictions | None, valid: np.ndarray) -> None:
        """Write a block."""
        self._folder.mkdir(exist_ok=True)
        frame = frame_of(ids, (predictions or self._empty()).columns, valid=valid)
        frame.write_ipc(self._folder / f"{self._count:08}.arrow")
        self._count += 1

    def finish(self) -> None:
        """Join the blocks."""
        import polars as pl

        try:
            scan = pl.scan_ipc([self._folder / f"{i:08}.arrow" for i in range(self._count)], glob=False)
            scan.sink_parquet(self._draft)
        except pl.exceptions.PolarsError as error:
            raise OSError(str(error).splitlines()[0]) from error

    def close(self) -> None:
        """Remove the blocks."""
        shutil.rmtree(self._folder, ignore_errors=True)


class ArraysWriter:
    """NumPy arrays: the decisions as they are, what identifies the examples, and `valid`."""

    def __init__(self, draft: Path, empty: Callable[[], Predictions]) -> None:
        """Take the path of the file."""
        self._draft, self._empty = draft, empty
        self._parts: dict[str, _Growing] = {}

    def add(self, ids: Mapping[str, Any], predictions: Predictions | None, valid: np.ndarray) -> None:
        """Write a block; examples that are not valid have NaN, or -1 in whole numbers."""
        decisions = (predictions or self._empty()).decisions
        for name, values in {**_as_arrays(ids), "valid": valid}.items():
            self._part(name if name not in decisions else f"input_{name}").add(values)
        for name, values in decisions.items():
            self._part(name).add(_spread(np.asarray(values), valid))

    def finish(self) -> None:
        """Join the arrays."""
        with zipfile.ZipFile(self._draft, "w", allowZip64=True) as archive:
            for name, part in self._parts.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    part.copy_to(file)

    def close(self) -> None:
        """Close the files of the arrays, which have no names."""
        for part in self._parts.values():
            part.file.close()

    def _part(self, name: str) -> "_Growing":
        if name not in self._parts:
            self._parts[name] = _Growing(self._draft.parent)
        return self._parts[name]


class _Growing:
    """An array that grows along its first axis: numbers in a file without name, texts in memory."""

    def __init__(self, folder: Path) -> None:
        self.file, self._texts = tempfile.TemporaryFile(dir=folder), []
        self._rest: tuple[int, ...] = ()
        self._dtype, self._count = np.dtype(np.float32), 0

    def add(self, values: np.ndarray) -> None:
        if values.dtype.kind in "OU":
            self._texts += ["" if value is None else str(value) for value in values.tolist()]
            return
        self._rest, self._dtype, self._count = values.shape[1:], values.dtype, self._count + len(values)
        self.file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)  # dates have no buffer

    def copy_to(self, file: Any) -> None:
        if self._texts:
            np.lib.format.write_array(file, np.array(self._texts), allow_pickle=False)
            return
        shape = (self._count, *self._rest)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        self.file.seek(0)
        shutil.copyfileobj(self.file, file, 1 << 22)


def _as_arrays(ids: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what identifies examples as arrays; columns of polars become texts, unless they are numbers."""
    found = {}
    for name, values in ids.items():
        array = values if isinstance(values, np.ndarray) else np.array(list(values), object)
        if array.dtype == object:
            array = np.array(["" if value is None else str(value) for value in array], dtype=np.str_)
        found[name] = array
    return found


def _spread(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    if valid.all():
        return values
    empty = np.nan if np.issubdtype(values.dtype, np.floating) else -1
    found = np.full((len(valid), *values.shape[1:]), empty, values.dtype)
    found[valid] = values
    return found


WRITERS: dict[str, Callable[[Path, Callable[[], Predictions]], Writer]] = {
    ".csv": lambda draft, empty: CsvWriter(draft.open("xb"), empty),
    ".jsonl": lambda draft, empty: JsonWriter(draft.open("xb"), empty),
    ".ndjson": lambda draft, empty: JsonWriter(draft.open("xb"), empty),
    ".parquet": ParquetWriter,
    ".npz": ArraysWriter,
}
"""Ending of a file -> what writes it."""

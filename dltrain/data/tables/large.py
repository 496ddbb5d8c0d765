"""Tables that do not fit into memory: columns are looked at one at a time, and rows encoded in blocks.

The same functions find what columns mean and encode rows as for a table in memory, so the arrays are the same; only
columns of texts and images are left out.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.bad import Bad, OnBad, check_bad
from dltrain.data.description import Description
from dltrain.data.sources.rows import Rows
from dltrain.data.store import Column, Store, open_store
from dltrain.data.tables.columns import Column as Meant
from dltrain.data.tables.columns import Meaning, find_columns
from dltrain.data.tables.convert import Kind as Written
from dltrain.data.tables.convert import convert_columns
from dltrain.data.tables.describe import describe_columns, describe_files
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.tables.files import Files
from dltrain.data.tables.options import Options
from dltrain.data.tables.parts import open_parts
from dltrain.data.tables.raw import Raw
from dltrain.data.tables.read import instead_of
from dltrain.data.tables.target import Target, make_target
from dltrain.data.tables.wanted import MissingTarget, Wanted, read_weights
from dltrain.errors import DataError
from dltrain.types import Feature, Kind, Spec, alone_or_named, by_name

GROWTH, PACKED = (
    6,
    12,
)  # bytes that a byte of a text or Parquet file takes in memory, while a table is read as a whole
SHARE = 0.25  # of the free memory that reading a table may take
BLOCK = 1 << 18  # rows
ENDINGS = (".parquet", ".pq", ".csv", ".tsv", ".txt", ".tab", ".data", ".dat")
FITTED = ("numbers", "dates", "categories", "kinds")  # what an encoder has for each column


def is_large(paths: Sequence[Path], *, most: int) -> bool:
    """Tell whether these files, text or Parquet, take much of the free memory, `most` bytes, if read as a whole."""
    there = all(path.suffix.lower() in ENDINGS and path.is_file() for path in paths)
    sizes = (path.stat().st_size * (PACKED if path.suffix.lower() in ENDINGS[:2] else GROWTH) for path in paths)
    return there and sum(sizes) > SHARE * most


class LargeTable:
    """The rows of a table that stays on the disk.

    Attributes:
        spec: the targets.
        suggestion: the task that suits the target, and why.
        fingerprint: of the content of the files.
        published: indices of splits that the user fixed, by files of their own.
        scale: the scaling that data.scale=auto takes, since tables have outliers.
    """

    scale = "robust"

    def __init__(
        self,
        files: Files,
        options: Options,
        wanted: Wanted,
        *,
        task: Any,
        for_evaluation: bool = False,
    ) -> None:
        """Read the targets.

        Args:
            files: of all splits.
            options: how to read the files.
            wanted: what the user says about the columns.
            task: what is done with the target; None while it is not decided.
            for_evaluation: whether a trained model is evaluated on the rows.
        """
        self._files, self._options, self._wanted = files.paths, options, wanted
        self._fitted: tuple[bytes, list[tuple[Meant, TableEncoder]]] | None = None
        self._parts, self.fingerprint = open_parts(self._files, options)
        self._kinds: dict[str, Written | None] = {}
        counts = [part.rows for part in self._parts]
        self._file = np.repeat(np.arange(len(counts), dtype=np.int16), counts)
        self._kept: np.ndarray | None = None  # numbers of the rows that are used, if there are others
        self._bad = [row for part in self._parts for row in part.bad]
        self._total = sum(counts) + len(self._bad)
        for name in (*wanted.targets, *wanted.meanings):
            self._check(name, "target" if name in wanted.targets else "meanings")
        what = self._files[0].name if len(counts) == 1 else f"{len(counts):,} files"
        self._notes = [f"{what}: {sum(counts):,} rows, which are encoded in blocks"]
        if options.on_bad is OnBad.SKIP:
            self._leave_out_bad_values()
        raw = self._read_targets()
        about = {"task": task, "positive": wanted.positive, "for_evaluation": for_evaluation}
        self._target: Target = make_target(raw, wanted.targets, **about)
        self.spec, self.suggestion = Spec({}, self._target.features), self._target.suggestion
        self.published: Mapping[str, np.ndarray] = files.published(raw.file)
        self._described, self._keep = files.described([part.digest for part in self._parts]), files.keep

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._target.array)

    def read_targets(self) -> np.ndarray:
        """Return the targets, int32 [N] or float32 [N, T]."""
        return self._target.array

    def column(self, name: str, key: str = "column") -> np.ndarray:
        """Return the values of a column, [N]; `key` is the key of the config that names it."""
        self._check(name, key)
        return self._values(name).to_numpy()

    def where(self, index: int) -> str:
        """Return file and row of an example, for a message."""
        return self._where(int(index if self._kept is None else self._kept[index]))

    def columns(self, train: np.ndarray) -> list[Meant]:
        """Find what the columns mean, from the training rows alone."""
        return [column for column, _ in self._fit(train)]

    def describe(self, train: np.ndarray) -> Description:
        """Return what was found in the files, and what the columns mean."""
        import polars as pl

        targets = pl.DataFrame([self._values(name)[train] for name in self._wanted.targets])
        return describe_columns(self.describe_files(), self.columns(train), targets, self._target)

    def describe_files(self) -> Description:
        """Return what was found in the files as such."""
        return describe_files(self._notes, self._bad, self._total, self._described)

    def encode(self, train: np.ndarray) -> tuple[Rows, TableEncoder]:
        """Fit on the training rows, one column at a time, and encode all rows in blocks."""
        parts = [encoder for _, encoder in self._fit(train)]
        fitted = {what: {n: v for part in parts for n, v in getattr(part, what).items()} for what in FITTED}
        dtype = "float64" if any(part.dtype == "float64" for part in parts) else "float32"
        named = tuple(name for part in parts for name in part.identifiers)
        encoder = TableEncoder(**fitted, missing=self._wanted.missing, dtype=dtype, identifiers=named)
        if not encoder.features:
            raise DataError(f"{self._files[0]}: has no column that a model could learn from besides the target")
        return self.encode_by(encoder), encoder

    def encode_by(self, encoder: TableEncoder) -> Rows:
        """Return all rows as arrays, encoded in blocks by an encoder that was fitted before."""
        for name in encoder.columns:
            self._check(name, "path")
            if name not in self._kinds:
                self._typed(name)
        store = self._encode_blocks(encoder)
        inputs = {name: store.arrays[name] for name in encoder.features}
        arrays = {"inputs": alone_or_named(inputs), "targets": self.read_targets()}
        spec = Spec(encoder.features, self.spec.targets)
        if (name := self._wanted.weight) is not None:
            self._check(name, "weight")
            arrays["weights"] = read_weights(self._values(name), self.where)
            spec = replace(spec, for_loss={"weights": Feature(Kind.WEIGHT, (), "float32")})
        return Rows(arrays, spec, self.published, keep=store, locate=self.where)

    def _encode_blocks(self, encoder: TableEncoder) -> Store:
        features, kinds = encoder.features, {name: self._kinds[name] for name in encoder.columns}

        def block(first: int, end: int) -> tuple[Mapping[str, np.ndarray], None]:
            return by_name(encoder.encode(self._block(first, end, kinds)), features), None

        kept = "" if self._kept is None else hashlib.sha256(self._kept.data).hexdigest()
        key = {"content": self.fingerprint, "encoder": encoder.to_json(), "kept": kept}
        columns = {name: Column(feature.shape, feature.dtype) for name, feature in features.items()}
        what = f"encoding {self._files[0].name}"
        return open_store(key, columns, len(self), block=BLOCK, convert=block, what=what, unit="rows", threads=2)

    def _block(self, first: int, end: int, kinds: Mapping[str, Written | None]) -> Any:
        """Return these columns of the examples `first .. end - 1`, a polars frame."""
        import polars as pl

        rows = np.arange(first, end) if self._kept is None else self._kept[first:end]
        low, high, start, found = int(rows[0]), int(rows[-1]) + 1, 0, []
        for part in self._parts:
            begin, stop = max(low - start, 0), min(high - start, part.rows)
            if begin < stop:
                found.append(part.block(begin, stop - begin, kinds, self._options.missing))
            start += part.rows
        frame = pl.concat(found)
        return frame if self._kept is None else frame[rows - low]

    def _fit(self, train: np.ndarray) -> list[tuple[Meant, TableEncoder]]:
        """Look at each column, and fit what encodes it; once for the same rows."""
        which = hashlib.sha256(np.ascontiguousarray(train).data).digest()  # the rows may be many
        if self._fitted is None or self._fitted[0] != which:
            aside = (*self._wanted.targets, *self._wanted.unused)
            names = [name for name in self._parts[0].names if name not in aside]
            self._fitted = which, [self._fit_column(name, train) for name in names]
        return self._fitted[1]

    def _fit_column(self, name: str, train: np.ndarray) -> tuple[Meant, TableEncoder]:
        raw = self._typed(name)
        frame = self._rows_of(raw.frame)[train]
        (column,) = find_columns(frame, self._wanted.meanings)
        if column.meaning is Meaning.TEXT:
            column = replace(column, meaning=Meaning.IGNORED, why=f"{column.why}; left out of so large a table")
        return column, TableEncoder.fit(frame, [column], written=raw.written, missing=self._wanted.missing)

    def _values(self, name: str) -> Any:
        """Return a column, a polars series."""
        return self._rows_of(self._typed(name).frame).to_series()

    def _typed(self, name: str) -> Raw:
        """Read one column of all files, with its type; null where a value of a bad row does not fit."""
        raw, found = self._read(name)
        if self._options.on_bad is OnBad.ERROR:
            check_bad([row for _, row in found], raw.total, self._options)
        return raw

    def _read(self, name: str) -> tuple[Raw, list[tuple[int, Bad]]]:
        import polars as pl

        frame, separator = pl.concat([part.column(name) for part in self._parts]), self._parts[0].separator
        raw = Raw(
            frame,
            tuple(map(str, self._files)),
            self._file,
            np.concatenate([part.numbers for part in self._parts]),
            tuple("row" if part.lines is None else "line" for part in self._parts),
            (name,) if separator else (),
            total=len(frame),
            separator=separator,
        )
        raw, found = convert_columns(raw, self._options)
        self._kinds[name] = raw.written.get(name)
        return raw, found

    def _leave_out_bad_values(self) -> None:
        """Leave out the rows with a value that does not fit, in any column."""
        bad: dict[int, Bad] = {}
        for name in self._parts[0].names:
            for index, row in self._read(name)[1]:
                bad.setdefault(index, row)
        self._bad += [bad[index] for index in sorted(bad)]
        check_bad(self._bad, self._total, self._options)
        if bad:
            self._kept = np.setdiff1d(np.arange(len(self._file)), list(bad))

    def _read_targets(self) -> Raw:
        """Read the targets, without the rows that lack one."""
        import polars as pl

        found = [self._typed(name) for name in self._wanted.targets]
        raw = replace(found[0], frame=pl.concat([raw.frame for raw in found], how="horizontal"))
        used = np.ones(len(raw.frame), bool)
        if self._kept is not None:
            used[:] = False
            used[self._kept] = True
        lost = used & raw.frame.select(pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()
        if lost.any():
            self._leave_out_missing(lost, used)
            used &= ~lost
            self._kept = np.flatnonzero(used)
        return raw if used.all() else raw.keep(used)

    def _leave_out_missing(self, lost: np.ndarray, used: np.ndarray) -> None:
        """Note the rows without a target, or refuse them."""
        where, count = self._where(int(np.argmax(lost))), int(lost.sum())
        names = ", ".join(self._wanted.targets)
        if count == used.sum() or self._wanted.missing_target is MissingTarget.REFUSE:
            raise DataError(f"{where}: the target {names} is missing, and in {count:,} rows together")
        self._notes.append(f"{count:,} rows without the target {names} are left out, the first: {where}")

    def _rows_of(self, frame: Any) -> Any:
        return frame if self._kept is None else frame[self._kept]

    def _where(self, row: int) -> str:
        """Return the file and the row as the file counts it; `row` counts the rows of all files that are whole."""
        file = int(self._file[row])
        return ", ".join(self._parts[file].place(row - int(np.searchsorted(self._file, file))))

    def _check(self, name: str, key: str) -> None:
        names = list(self._parts[0].names)
        if name not in names:
            file = self._files[0].name
            raise DataError(f"data.{key}={name}: {file} has no such column{instead_of(name, names)}")

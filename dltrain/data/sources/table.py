"""Your own table: files with one row per example."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from dltrain.data.bad import OnBad
from dltrain.data.description import Description
from dltrain.data.images.column import ImageColumn
from dltrain.data.images.convert import Images
from dltrain.data.images.options import ImageOptions
from dltrain.data.sources.rows import Rows
from dltrain.data.tables.columns import Column, Meaning, find_columns
from dltrain.data.tables.describe import describe_columns, describe_files
from dltrain.data.tables.encode import TableEncoder
from dltrain.data.tables.files import Files, find_files
from dltrain.data.tables.large import LargeTable, is_large
from dltrain.data.tables.options import MISSING, Options
from dltrain.data.tables.read import ROOM, Table, columns_of, instead_of, read_table
from dltrain.data.tables.target import Target, make_target
from dltrain.data.tables.wanted import MissingTarget, Wanted, read_weights
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import Finite, Range, Whole
from dltrain.types import Feature, Kind, Spec


class TableSource:
    """The rows of a table, which `encode` turns into arrays once the training rows are known.

    Attributes:
        spec: the targets; what the inputs are depends on the training rows.
        suggestion: the task that suits the target, and why.
        fingerprint: of the content of the files.
        published: indices of splits that the user fixed, by files of their own.
        frame: the rows, a polars frame with typed columns.
        scale: the scaling that data.scale=auto takes, since tables have outliers.
    """

    scale = "robust"

    def __init__(
        self,
        table: Table,
        wanted: Wanted,
        *,
        task: Any,
        files: Files | None = None,
        for_evaluation: bool = False,
    ) -> None:
        """Look at the target.

        Args:
            table: the rows.
            wanted: what the user says about them.
            task: what is done with the target; None while it is not decided.
            files: that it was read from; None: all rows are split.
            for_evaluation: whether a trained model is evaluated on the rows.
        """
        self._found: tuple[bytes, list[Column]] | None = None
        self._raw, self._wanted, self._aside = table.raw, wanted, (*wanted.targets, *wanted.unused)
        for name in (*wanted.targets, *wanted.meanings):
            self._check_column(name, "target" if name in wanted.targets else "meanings")
        self._notes = list(self._raw.notes)
        self._leave_out_missing()
        about = {"task": task, "positive": wanted.positive, "for_evaluation": for_evaluation}
        self._target: Target = make_target(self._raw, wanted.targets, **about)
        self.frame, self.fingerprint = self._raw.frame, table.fingerprint
        self.spec, self.suggestion = Spec({}, self._target.features), self._target.suggestion
        files = files or Files((), ())
        self.published: Mapping[str, np.ndarray] = files.published(self._raw.file)
        self._files, self._keep = files.described(table.digests), files.keep

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._raw.frame)

    def _check_column(self, name: str, key: str) -> None:
        names, file = self._raw.frame.columns, Path(self._raw.files[0]).name
        if name not in names:
            raise DataError(f"data.{key}={name}: {file} has no such column{instead_of(name, names)}")

    def _leave_out_missing(self) -> None:
        """Leave out the rows without a target, or refuse them."""
        lost = np.zeros(len(self._raw.frame), bool)
        for name in self._wanted.targets:
            lost |= self._raw.frame[name].is_null().to_numpy()
        if not lost.any():
            return
        first, count = self._raw.where(int(np.argmax(lost))), int(lost.sum())
        names = ", ".join(self._wanted.targets)
        if lost.all():
            raise DataError(f"{self._raw.files[0]}: the target {names} is missing in every row")
        if self._wanted.missing_target is MissingTarget.REFUSE:
            raise DataError(
                f"{first}: the target {names} is missing (in {count:,} of {len(lost):,} rows); fill it "
                "in, or leave such rows out with data.missing_target=drop"
            )
        self._notes.append(
            f"{count:,} of {len(lost):,} rows are left out, as they have no {names}; the first: {first}"
        )
        self._raw = self._raw.keep(~lost)

    def column(self, name: str, key: str = "column") -> np.ndarray:
        """Return the values of a column, [N], for splits, weights and the like.

        Args:
            name: the column.
            key: the key of the config that names it, for the message.

        Raises:
            DataError: the column does not exist.
        """
        self._check_column(name, key)
        return self.frame[name].to_numpy()

    def where(self, index: int) -> str:
        """Return file and row of an example, for a message."""
        return self._raw.where(index)

    def read_targets(self) -> np.ndarray:
        """Return the targets, int32 [N] or float32 [N, T]."""
        return self._target.array

    def columns(self, train: np.ndarray) -> list[Column]:
        """Find what the columns mean, from the training rows alone; once for the same rows."""
        which = train.tobytes()
        if self._found is None or self._found[0] != which:
            said = {"skip": self._aside, "folders": self._folders()}
            self._found = which, find_columns(self.frame[train], self._wanted.meanings, **said)
        return self._found[1]

    def describe(self, train: np.ndarray) -> Description:
        """Return what was found in the files, and what the columns mean."""
        targets = self.frame[train].select(self._wanted.targets)
        return describe_columns(self.describe_files(), self.columns(train), targets, self._target)

    def describe_files(self) -> Description:
        """Return what was found in the files as such."""
        return describe_files(self._notes, self._raw.bad, self._raw.total, self._files)

    def encode(self, train: np.ndarray) -> tuple[Rows, TableEncoder]:
        """Fit on the training rows, and return all rows as arrays with what was fitted."""
        known = {"written": self._raw.written, "missing": self._wanted.missing, "images": self._wanted.image}
        encoder = TableEncoder.fit(self.frame[train], self.columns(train), **known)
        if not encoder.features:
            raise DataError(f"{self._raw.files[0]}: has no column that a model could learn from besides the target")
        return self.encode_by(encoder), encoder

    def encode_by(self, encoder: TableEncoder) -> Rows:
        """Return all rows as arrays, by an encoder that was fitted before."""
        images = {name: self._open_images(name, fitted) for name, fitted in encoder.images.items()}
        inputs = encoder.encode_frame(self.frame, {name: found.pixels for name, found in images.items()})
        arrays = {"inputs": inputs, "targets": self.read_targets()}
        spec = Spec(encoder.features, self.spec.targets)
        if self._wanted.weight is not None:
            arrays["weights"] = self._weights(self._wanted.weight)
            spec = replace(spec, for_loss={"weights": Feature(Kind.WEIGHT, (), "float32")})
        keep, places = [found.store for found in images.values()], replace(self._raw, frame=None)
        return Rows(arrays, spec, self.published, keep=keep, locate=places.where)

    def _folders(self) -> list[Path]:
        """Return where the images of each file are: in `data.image.folder`, or next to the table."""
        folder = self._wanted.image.folder
        return [Path(folder).expanduser().absolute() if folder else Path(file).parent for file in self._raw.files]

    def _open_images(self, name: str, fitted: ImageColumn) -> Images:
        """Decode the images that a column names, or open what was decoded before."""
        folders = self._folders()
        files = zip(self._raw.file.tolist(), self.frame[name].to_list(), strict=True)
        paths = [None if value is None else str(folders[file] / str(value)) for file, value in files]
        return fitted.open(paths, lambda row: f"{self.where(row)}, column {name}", what=f"decoding {name}")

    def _weights(self, name: str) -> np.ndarray:
        """Return how much each row counts in the loss, float32 [N]."""
        self._check_column(name, "weight")
        return read_weights(self.frame[name], self.where)


def load_table(
    path: str | None = None,
    *,
    target: str | Sequence[str] | None = None,
    task: Any = None,
    memory_left: int = ROOM,
    root: str | None = None,
    test_path: str | None = None,
    validation_path: str | None = None,
    columns: Sequence[str] | None = None,
    meanings: Mapping[str, str] | None = None,
    missing: Sequence[str | Finite] = MISSING,
    missing_target: MissingTarget = MissingTarget.DROP,
    positive: str | Whole | None = None,
    strip_label: str | None = None,
    separator: str = "auto",
    quote: str = "auto",
    encoding: str = "auto",
    header: bool | Literal["auto"] = "auto",
    decimal: Literal["auto", "point", "comma"] = "auto",
    comment: str | None = None,
    on_bad: OnBad = OnBad.ERROR,
    most_bad: Annotated[float, Range(0, 1)] = 0.01,
    group: str | None = None,
    split_column: str | None = None,
    weight: str | None = None,
    image: ImageOptions | None = None,
    for_evaluation: bool = False,
    timeout: float = 60.0,
) -> TableSource | LargeTable:
    """Read a table; one that does not fit into memory is encoded in blocks, into memory-mapped arrays.

    Args:
        path: the file: CSV, TSV and the like (also in .gz, .xz or .bz2), Parquet, JSON lines, Feather or Arrow.
            Or many: a folder of Parquet files, a pattern such as `part-{000..999}.parquet`, or an address.
        target: the column to predict, or several columns of numbers.
        task: what to do with it; None while that is not decided.
        memory_left: bytes that the table may take.
        root: a folder that the paths are in.
        test_path: a file with the test rows; null: a part of `path`, `data.test`.
        validation_path: a file with the validation rows; null: a part of `path`, `data.validation`.
        columns: names of the columns, for a file without header, or in place of its header.
        meanings: column -> number, category, text, image, date, identifier, constant or ignored, where the guess
            is wrong.
        missing: markers of a missing value, in columns of text and of numbers.
        missing_target: drop: leave out rows without a target; refuse: end the run.
        positive: of two classes the one that metrics such as f1 are about; null: the last in order.
        strip_label: characters to take off the end of a target's texts.
        separator: of fields: one character, or comma, tab, semicolon, pipe, space; auto: found in the file.
        quote: the character around fields that hold separators, or none; auto: found in the file.
        encoding: of the text, such as utf-8, utf-16, latin-1, cp1252; auto: found in the file.
        header: whether the first row has the names of the columns; auto: found in the file.
        decimal: sign before decimals; auto: found in the column, where fields are not separated by commas.
        comment: characters that begin a line to leave out.
        on_bad: error: end the run at a row that cannot be read; skip: leave it out.
        most_bad: largest part of the rows that is left out.
        group: a column that the splits go by; it is not an input.
        split_column: the same, of the names of splits.
        weight: a column of how much each row counts in the loss, 0 or more; it is not an input.
        image: how images are read that columns name.
        for_evaluation: whether a trained model is evaluated on the rows.
        timeout: seconds in which a remote file system has to answer.

    Raises:
        ConfigError: a key is missing.
        DataError: a file cannot be read, or lacks the target.
    """
    if path is None or not target:
        lost = "path" if path is None else "target"
        hint = "data.path=FILE" if path is None else "data.target=COLUMN names the column to predict"
        raise ConfigError(f"data.{lost}: missing; {hint}{columns_of(path)}")
    targets = (target,) if isinstance(target, str) else tuple(target)
    meant = dict(meanings or {})
    for name, meaning in meant.items():
        if meaning not in list(Meaning):
            raise ConfigError(f"data.meanings.{name}={meaning}: expected one of {', '.join(Meaning)}")
    marks = tuple(str(mark) for mark in missing)
    options = Options(
        **{"separator": separator, "quote": quote, "encoding": encoding, "decimal": decimal, "comment": comment},
        header=None if header == "auto" else header,
        columns=tuple(columns or ()),
        missing=marks,
        on_bad=OnBad(on_bad),
        most_bad=most_bad,
        meanings=tuple(meant.items()),
        strip_label=strip_label,
        targets=targets,
    )
    files = find_files(
        {"train": path, "test": test_path, "validation": validation_path}, root=root, timeout=timeout
    )
    large = not {Meaning.TEXT, Meaning.IMAGE} & set(meant.values()) and is_large(files.paths, most=memory_left)
    table = None if large else read_table(files.paths, options, most=memory_left)
    unused = tuple(name for name in (group, split_column, weight) if name is not None)
    chosen = None if positive is None else str(positive)
    said = (MissingTarget(missing_target), chosen, unused, weight, image or ImageOptions())
    wanted = Wanted(targets, meant, marks, *said)
    if table is None:
        return LargeTable(files, options, wanted, task=task, for_evaluation=for_evaluation)
    return TableSource(table, wanted, task=task, files=files, for_evaluation=for_evaluation)

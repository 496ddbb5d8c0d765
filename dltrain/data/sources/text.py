"""Your own texts with a target each: a table with a column of texts, or a folder of text files per class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from dltrain.data.bad import OnBad
from dltrain.data.description import Description
from dltrain.data.sources.rows import Rows
from dltrain.data.sources.table import ROOM, MissingTarget, TableSource, load_table
from dltrain.data.tables.columns import Column, Meaning, find_columns
from dltrain.data.texts.encode import TextEncoder
from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.data.texts.folder import LABEL, TEXT, read_folder
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import Finite, Range, Size, Whole
from dltrain.types import Spec


class TextSource:
    """Texts and their targets, which `encode` turns into arrays once the training texts are known.

    Attributes:
        spec: the targets; what the inputs are depends on the training texts.
        suggestion: the task that suits the targets, and why.
        fingerprint: of the content of the files.
        published: indices of splits that the user fixed, by files or folders of their own.
        frame: the rows, a polars frame with the texts.
    """

    def __init__(self, table: TableSource, column: str, options: TextOptions) -> None:
        """Take the column of the texts from a table."""
        self._table, self._column, self._options = table, column, options
        self._texts = [None if text is None else str(text) for text in table.column(column, "text").tolist()]
        self._fitted: tuple[bytes, FittedTexts] | None = None
        self.spec, self.suggestion, self.frame = table.spec, table.suggestion, table.frame
        self.fingerprint, self.published = table.fingerprint, table.published

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._texts)

    def column(self, name: str, key: str = "column") -> np.ndarray:
        """Return another column of the file, [N]; `key` names it in the config."""
        return self._table.column(name, key)

    def where(self, index: int) -> str:
        """Return file and row of an example, for a message."""
        return self._table.where(index)

    def read_targets(self) -> np.ndarray:
        """Return the targets, int32 [N] or float32 [N, T]."""
        return self._table.read_targets()

    def columns(self, train: np.ndarray) -> list[Column]:
        """Return the column of the texts."""
        return find_columns(self.frame[train].select(self._column), {self._column: Meaning.TEXT})

    def describe(self, train: np.ndarray) -> Description:
        """Return what was found in the files, and in the training texts."""
        empty = sum(not (text or "").strip() for text in self._texts)
        files, fitted = self._table.describe_files(), self._fit(train).describe()
        notes = [*files.notes, fitted, *([f"{empty:,} of {len(self):,} texts are empty"] if empty else [])]
        return Description(notes, bad_rows=files.bad_rows)

    def encode(self, train: np.ndarray) -> tuple[Rows, TextEncoder]:
        """Fit on the training texts, and return all texts as arrays with what was fitted."""
        encoder = TextEncoder(self._column, self._fit(train))
        return self.encode_by(encoder), encoder

    def encode_by(self, encoder: TextEncoder) -> Rows:
        """Return all texts as arrays, by an encoder that was fitted before."""
        arrays = {"inputs": encoder.encode(self._texts), "targets": self.read_targets()}
        spec = Spec(encoder.features, self.spec.targets)
        return Rows(arrays, spec, self.published, locate=self.where)

    def _fit(self, train: np.ndarray) -> FittedTexts:
        """Fit on the training texts, once for the same ones."""
        which = np.asarray(train).tobytes()
        if self._fitted is None or self._fitted[0] != which:
            self._fitted = which, FittedTexts.fit([self._texts[i] or "" for i in train], self._options)
        return self._fitted[1]


def load_text(
    path: str | None = None,
    *,
    text: str | None = None,
    target: str | Sequence[str] | None = None,
    task: Any = None,
    memory_left: int = ROOM,
    root: str | None = None,
    test_path: str | None = None,
    validation_path: str | None = None,
    tokens: Tokens = Tokens.WORDS,
    vocabulary_size: Size | None = None,
    min_count: Size | None = None,
    lowercase: bool = True,
    max_length: Size | None = None,
    character_ngrams: Annotated[int, Range(low=3)] | None = None,
    columns: Sequence[str] | None = None,
    missing: Sequence[str | Finite] = ("",),
    missing_target: MissingTarget = MissingTarget.DROP,
    positive: str | Whole | None = None,
    separator: str = "auto",
    quote: str = "auto",
    encoding: str = "auto",
    header: bool | Literal["auto"] = "auto",
    on_bad: OnBad = OnBad.ERROR,
    most_bad: Annotated[float, Range(0, 1)] = 0.01,
    for_evaluation: bool = False,
) -> TextSource:
    """Read texts, each with its target.

    Args:
        path: a table with a column of texts, in any format of data=table; or a folder with CLASS/NAME.txt, or with
            train, validation and test above the classes.
        text: the column of the texts; of a folder null.
        target: the column to predict, or several columns of numbers; of a folder null.
        task: what to do with it; None while that is not decided.
        memory_left: bytes that the texts may take.
        root: a folder that the paths are in.
        test_path: a file with the test texts; null: a part of `path`, `data.test`.
        validation_path: a file with the validation texts; null: a part of `path`, `data.validation`.
        tokens: what a text is cut into: words, characters, subwords (needs sentencepiece), or ngrams, which are
            hashed words, pairs of words, and character_ngrams.
        vocabulary_size: most tokens; of ngrams the number of buckets. null: 20,000 words, 2,000 characters, 4,000
            subwords; of ngrams by their number in the training texts, at most 262,144.
        min_count: words or characters that occur less often in the training texts are unknown; null: 2.
        lowercase: whether `A` and `a` are the same.
        max_length: most tokens of a text, of ngrams most words; the rest is cut off. null: the longest training
            text, but at most twice the length that 95 % of them do not exceed.
        character_ngrams: of ngrams, count runs of 3 to this many characters inside words, too; null: none.
        columns: names of the columns, for a file without header, or in place of its header.
        missing: markers of a missing value; a missing text counts as empty.
        missing_target: drop: leave out texts without a target; refuse: end the run.
        positive: of two classes the one that metrics such as f1 are about; null: the last in order.
        separator: of fields: one character, or comma, tab, semicolon, pipe, space; auto: found in the file.
        quote: the character around fields that hold separators, or none; auto: found in the file.
        encoding: of the text, such as utf-8, utf-16, latin-1, cp1252; auto: found in the file.
        header: whether the first row has the names of the columns; auto: found in the file.
        on_bad: error: end the run at a row that cannot be read; skip: leave it out.
        most_bad: largest part of the rows that is left out.
        for_evaluation: whether a trained model is evaluated on the texts.

    Raises:
        ConfigError: a key is missing, or does not go with another.
        DataError: a file cannot be read, or lacks a column.
    """
    options = TextOptions(Tokens(tokens), vocabulary_size, min_count, lowercase, max_length, character_ngrams)
    whole = None if path is None else Path(root or "", path).expanduser().absolute()
    if whole is not None and whole.is_dir():
        keys = {"text": text, "target": target, "test_path": test_path, "validation_path": validation_path}
        _refuse(keys)
        return TextSource(
            read_folder(whole, task=task, positive=positive, for_evaluation=for_evaluation), TEXT, options
        )
    if path is not None and target and text is None:
        raise ConfigError("data.text: missing; data.text=COLUMN names the column of the texts")
    if text is not None and text in ([target] if isinstance(target, str) else target or []):
        raise ConfigError(f"data.text={text}: is also data.target; the texts and what to predict must differ")
    try:
        table = load_table(
            path,
            target=target,
            task=task,
            memory_left=memory_left,
            root=root,
            test_path=test_path,
            validation_path=validation_path,
            columns=columns,
            meanings={} if text is None else {text: str(Meaning.TEXT)},
            missing=missing,
            missing_target=missing_target,
            positive=positive,
            separator=separator,
            quote=quote,
            encoding=encoding,
            header=header,
            on_bad=on_bad,
            most_bad=most_bad,
            for_evaluation=for_evaluation,
        )
    except DataError as error:  # that the column of the texts is missing is said in terms of its own key
        if (said := str(error)).startswith(own := f"data.meanings={text}:"):
            raise DataError(f"data.text={text}:{said.removeprefix(own)}") from error
        raise
    assert isinstance(table, TableSource)  # a table with texts is read as a whole
    return TextSource(table, str(text), options)


def _refuse(keys: Mapping[str, Any]) -> None:
    """Refuse keys that name columns or files, where the texts are in a folder."""
    for key, value in keys.items():
        if value is not None:
            raise ConfigError(
                f"data.{key}={value}: data.path is a folder, so the texts are its files, and {LABEL}s its folders; "
                "leave it out"
            )

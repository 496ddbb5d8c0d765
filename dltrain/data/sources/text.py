"""Your own texts with a target each: a table with a column of texts, or a folder of text files per class."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from dltrain.data.sources.files import check_file
from dltrain.data.sources.fingerprint import fingerprint
from dltrain.data.sources.rows import Rows
from dltrain.data.tables.columns import NUMERIC_CLASSES
from dltrain.data.texts.encode import TextEncoder
from dltrain.data.texts.fitted import FittedTexts, TextOptions, Tokens
from dltrain.data.texts.read import read_folder
from dltrain.errors import ConfigError, DataError
from dltrain.ranges import Range, Size
from dltrain.types import Feature, Kind, Spec

LARGEST = 1 << 36  # bytes of a file
FOLDER = ("text", "label")  # names of text and target where the texts are files in folders


class TextSource:
    """Texts and their targets, which `encode` turns into arrays once the training texts are known.

    Attributes:
        spec: the targets; what the inputs are depends on the training texts.
        suggestion: the task that suits the targets, and why.
        fingerprint: of the texts and their targets.
        published: indices of splits that the user fixed.
    """

    def __init__(
        self,
        texts: Sequence[str | None],
        targets: Any,
        *,
        names: tuple[str, str],
        task: Any,
        options: TextOptions,
        positive: str | None = None,
        published: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Look at the targets, a polars series; `task` is None while it is not decided."""
        self._texts, self._targets, self._options = list(texts), targets, options
        self._column, target = names
        self.published: Mapping[str, np.ndarray] = published or {}
        self.suggestion = _suggest(targets, target)
        classes = task is not None and task.target_kind is Kind.CATEGORY
        self._levels = _levels(targets, positive) if classes else ()
        shape, dtype = ((), "int32") if classes else ((1,), "float32")
        kind = Kind.CATEGORY if classes else Kind.NUMBERS
        found = Feature(kind, shape, dtype, names=() if classes else (target,), vocabulary=self._levels)
        self.spec = Spec({}, {target: found})
        content = {self._column: self._texts, target: targets.cast(str).to_list()}
        self.fingerprint = fingerprint({n: np.array([str(v) for v in values]) for n, values in content.items()})

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._texts)

    def read_targets(self) -> np.ndarray:
        """Return the targets, int32 [N] or float32 [N, 1]."""
        if self._levels:
            numbers = {level: i for i, level in enumerate(self._levels)}
            return np.array([numbers[str(value)] for value in self._targets], np.int32)
        return self._targets.to_numpy().astype(np.float32)[:, None]

    def encode(self, train: np.ndarray) -> tuple[Rows, TextEncoder]:
        """Fit on the training texts, and return all texts as arrays with what was fitted."""
        fitted = FittedTexts.fit([self._texts[i] or "" for i in train], self._options)
        encoder = TextEncoder(self._column, fitted)
        arrays = {"inputs": encoder.encode(self._texts), "targets": self.read_targets()}
        return Rows(arrays, Spec(encoder.features, self.spec.targets), self.published), encoder


def load_text(
    path: str | None = None,
    *,
    text: str | None = None,
    target: str | None = None,
    task: Any = None,
    validation_path: str | None = None,
    test_path: str | None = None,
    columns: Sequence[str] | None = None,
    separator: str = "auto",
    quote: str = "auto",
    positive: str | None = None,
    tokens: Tokens = Tokens.WORDS,
    vocabulary_size: Size | None = None,
    min_count: Size | None = None,
    lowercase: bool = True,
    max_length: Size | None = None,
    character_ngrams: Annotated[int, Range(low=3)] | None = None,
) -> TextSource:
    """Read texts, each with its target.

    Args:
        path: a table with a column of texts, or a folder: CLASS/NAME.txt, or the same below train, validation and
            test.
        text: the column of the texts.
        target: the column to predict.
        task: what to do with it; None while that is not decided.
        validation_path: a file with the validation texts; None: a part of `path`, data.validation.
        test_path: a file with the test texts; None: a part of `path`, data.test.
        columns: names of the columns, for a file without a header.
        separator: between the columns; auto: a tab if the first line has one, else a comma.
        quote: the character around a text with separators or line breaks in it; none: quotes are ordinary
            characters; auto: none in a file separated by tabs, else ".
        positive: of two classes the one that precision, recall and F1 are about; None: the second in sorted order.
        tokens: what a text is cut into: words, characters, subwords (needs sentencepiece), or ngrams, which are
            hashed words, pairs of words, and character_ngrams.
        vocabulary_size: most tokens; of ngrams the number of buckets. None: 20,000 words, 2,000 characters, 4,000
            subwords; of ngrams by their number in training, at most 262,144.
        min_count: words or characters that occur less often in the training texts are unknown; None: 2.
        lowercase: whether `A` and `a` are the same.
        max_length: most tokens of a text, of ngrams most words; the rest is cut off. None: the longest training
            text, but at most twice the length that 95 % of them do not exceed.
        character_ngrams: of ngrams, count runs of 3 to this many characters inside words, too; None: none.

    Raises:
        ConfigError: a key is missing, or does not go with another.
        DataError: a file cannot be read, or lacks a column.
    """
    options = TextOptions(Tokens(tokens), vocabulary_size, min_count, lowercase, max_length, character_ngrams)
    if path is None:
        raise ConfigError("data.path: missing; give a table with a column of texts, or a folder of text files")
    file = Path(path).expanduser().absolute()
    given: dict[str, Any] = {"task": task, "options": options, "positive": positive}
    if file.is_dir():
        return _from_folder(file, text=text, target=target, given=given)
    if missing := next((name for name, value in (("text", text), ("target", target)) if value is None), None):
        raise ConfigError(f"data.{missing}: missing; name the column of the {missing}s")
    names = (str(text), str(target))
    if names[0] == names[1]:
        raise ConfigError(f"data.text={text}: is also data.target; the texts and what to predict must differ")
    how = {"columns": columns, "separator": separator, "quote": quote, "names": names}
    frames = [_frame(file, **how)]
    published, first = {}, len(frames[0])
    for split, other in (("validation", validation_path), ("test", test_path)):
        if other is not None:
            frames.append(_frame(Path(other).expanduser().absolute(), **how))
            published[split] = np.arange(first, first + len(frames[-1]))
            first += len(frames[-1])
    return _joined(frames, names=names, published=published, given=given)


def _joined(
    frames: Sequence[Any], *, names: tuple[str, str], published: Mapping[str, np.ndarray], given: Mapping[str, Any]
) -> TextSource:
    import polars as pl

    frame = pl.concat([one.select(names) for one in frames], how="vertical_relaxed")
    texts = frame[names[0]].cast(pl.String).to_list()
    return TextSource(texts, frame[names[1]], names=names, published=published, **given)


def _from_folder(path: Path, *, text: str | None, target: str | None, given: Mapping[str, Any]) -> TextSource:
    import polars as pl

    for key, value in (("text", text), ("target", target)):
        if value is not None:
            raise ConfigError(f"data.{key}={value}: data.path is a folder with one for each class; leave it out")
    texts, labels, splits = read_folder(path)
    published = {name: np.array(places) for name, places in splits.items()}
    return TextSource(texts, pl.Series(FOLDER[1], labels), names=FOLDER, published=published, **given)


def _frame(file: Path, *, columns: Sequence[str] | None, separator: str, quote: str, names: tuple[str, str]) -> Any:
    import polars as pl

    check_file(file, most=LARGEST)
    with file.open("rb") as stream:
        tabs = b"\t" in stream.readline()
    between = ("\t" if tabs else ",") if separator == "auto" else separator
    around = (None if between == "\t" else '"') if quote == "auto" else None if quote == "none" else quote
    how = {"has_header": columns is None, "new_columns": columns, "null_values": [""]}
    frame = pl.read_csv(file, separator=between, quote_char=around, **how)
    for name in names:
        if name not in frame.columns:
            near = difflib.get_close_matches(name, frame.columns, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise DataError(f"{file}: has no column {name}{hint} (columns: {', '.join(frame.columns)})")
    return frame


def _levels(targets: Any, positive: str | None) -> tuple[str, ...]:
    """Return the classes in order; of two the positive one is last."""
    levels = sorted(map(str, targets.unique().to_list()))
    if positive is None:
        return tuple(levels)
    if str(positive) not in levels:
        raise ConfigError(f"data.positive={positive}: is not a class; the classes are {', '.join(levels)}")
    if len(levels) != 2:
        raise ConfigError(f"data.positive={positive}: is for two classes, the data has {len(levels)}; leave it out")
    return tuple(sorted(levels, key=lambda level: level == str(positive)))


def _suggest(values: Any, name: str) -> tuple[str, str]:
    distinct = values.n_unique()
    if distinct == 2:
        return "binary", f"{name} has two values"
    if not values.dtype.is_numeric():
        return "classification", f"{name} is text with {distinct} values"
    if values.dtype.is_integer() and distinct <= NUMERIC_CLASSES:
        return "classification", f"{name} has {distinct} whole numbers; task=regression predicts a number"
    return "regression", f"{name} is a number"

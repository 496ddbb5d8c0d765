"""Reads a folder with a file for each text, in one folder for each class."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.sources.files import check_file
from dltrain.data.sources.table import TableSource, Wanted
from dltrain.data.split_names import SPLIT_OF
from dltrain.data.tables.raw import Raw
from dltrain.data.tables.read import Table
from dltrain.errors import DataError

TEXT, LABEL = "text", "label"  # names of the columns
LARGEST = 1 << 26  # bytes of a file that is one text


def read_folder(path: Path, *, task: Any, positive: str | int | None, for_evaluation: bool = False) -> TableSource:
    """Read a folder of text files, `CLASS/NAME.txt`, or the same below train, validation and test.

    Raises:
        DataError: there are no classes, or a file cannot be read.
    """
    import polars as pl

    texts, labels, files, parts = _read_folder(path, _newest(path))
    content = hashlib.sha256(json.dumps([texts, labels, parts]).encode()).hexdigest()
    frame = pl.DataFrame({TEXT: texts, LABEL: labels})
    note = f"{path.name}: {len(texts):,} files in {len(set(labels)):,} folders"
    each = np.arange(len(texts))  # a file for each text
    raw = Raw(
        frame, tuple(files), each, np.ones_like(each), ("text",) * len(texts), notes=(note,), total=len(texts)
    )
    wanted = Wanted((LABEL,), {}, positive=None if positive is None else str(positive))
    source = TableSource(Table(raw, content), wanted, task=task, for_evaluation=for_evaluation)
    source.published = {
        name: np.flatnonzero(np.array(parts) == name) for name in dict.fromkeys(parts) if name != "train"
    }
    return source


@lru_cache(maxsize=2)  # read once to find the task, and once to train
def _read_folder(path: Path, newest: Any) -> tuple[Sequence[str], ...]:
    """Return the texts, and the class, file and split of each."""
    del newest  # only to notice changes
    folders = _folders(path)
    split = bool(folders) and all(folder.name.lower() in SPLIT_OF for folder in folders)
    parts = [(SPLIT_OF[folder.name.lower()], folder) for folder in folders] if split else [("train", path)]
    found = [
        (_text(file), folder.name, str(file), part)
        for part, root in parts
        for folder in _folders(root)
        for file in sorted(folder.glob("*.txt"))
        if not file.name.startswith(".")
    ]
    if not found:
        raise DataError(f"{path} (data.path): has no texts; expected CLASS/NAME.txt, or SPLIT/CLASS/NAME.txt")
    return tuple(zip(*found, strict=True))


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _newest(path: Path) -> tuple[int, int]:
    """Return the number of files below a folder, and the time of the last change to one."""
    times = [file.stat().st_mtime_ns for file in path.rglob("*")]
    return len(times), max(times, default=0)


def _text(file: Path) -> str:
    check_file(file, most=LARGEST)
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: byte {error.start} is not UTF-8 ({error.reason}); convert the file: iconv -f latin1 -t utf-8"
        ) from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error

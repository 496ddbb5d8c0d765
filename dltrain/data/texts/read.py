"""Reads texts: a table with a column of texts, or a folder with a file for each text."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from dltrain.data.sources.files import check_file
from dltrain.errors import DataError

SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLITS |= {"validation": "validation", "dev": "validation", "test": "test", "testing": "test"}
LARGEST = 1 << 26  # bytes of a file that is one text


def read_folder(path: Path) -> tuple[list[str], list[str], dict[str, list[int]]]:
    """Read a folder of text files, `CLASS/NAME.txt`, or `SPLIT/CLASS/NAME.txt` with train, validation and test.

    Returns:
        The texts, the class of each, and the places of the texts of each split besides train.

    Raises:
        DataError: there are no classes, or a file cannot be read.
    """
    texts, labels, splits = _read_folder(path, _newest(path))
    return list(texts), list(labels), {name: list(places) for name, places in splits.items()}


@lru_cache(maxsize=4)  # read once to find the task, and once to train
def _read_folder(path: Path, newest: Any) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, tuple[int, ...]]]:
    del newest  # only to notice changes
    folders = _folders(path)
    split = bool(folders) and all(folder.name.lower() in SPLITS for folder in folders)
    parts = {SPLITS[folder.name.lower()]: folder for folder in folders} if split else {"train": path}
    texts, labels, splits = [], [], {}
    for part, root in sorted(parts.items(), key=lambda item: list(dict.fromkeys(SPLITS.values())).index(item[0])):
        first = len(texts)
        for folder in _folders(root):
            files = sorted(file for file in folder.glob("*.txt") if not file.name.startswith("."))
            texts += [_text(file) for file in files]
            labels += [folder.name] * len(files)
        if part != "train":
            splits[part] = tuple(range(first, len(texts)))
    if not texts:
        raise DataError(f"{path} (data.path): has no texts; expected CLASS/NAME.txt, or SPLIT/CLASS/NAME.txt")
    return tuple(texts), tuple(labels), splits


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

"""The shards that a path stands for: a folder, a pattern, a file or an address, in an order that does not vary."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dltrain.data.sources.files import check_file
from dltrain.data.split_names import SPLIT_OF
from dltrain.errors import ConfigError, DataError

MOST = 1 << 44  # bytes of a shard
MOST_SHARDS = 100_000
RANGE = re.compile(r"(\d+)\.\.(\d+)")
BRACES = re.compile(r"\{([^{}]*)\}")
MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Shard:
    """One file of many.

    Attributes:
        name: its path or address, as messages show it.
        size: in bytes.
        stamp: changes when its content does: the time of the last change, or the ETag of an object store.
        path: where this machine has it; None for one that has to be copied first.
    """

    name: str
    size: int
    stamp: str
    path: Path | None = None

    @property
    def file(self) -> str:
        """The last part of the name."""
        return PurePosixPath(self.name).name

    @property
    def folder(self) -> str:
        """The name without its last part."""
        return self.name.rpartition("/")[0]


def is_remote(path: str) -> bool:
    """Tell whether a path is an address of a file system that `fsspec` opens."""
    return "://" in path and not path.startswith("file://")


def expand(pattern: str, key: str) -> list[str]:
    """Return the paths that braces stand for: `{000..012}` is a range of numbers, `{a,b}` a list.

    Raises:
        ConfigError: the braces are wrong, or stand for too many paths.
    """
    found = [pattern]
    while any(BRACES.search(text) for text in found):
        found = [text for one in found for text in _expand_first(one, f"{key}={pattern}")]
        if len(found) > MOST_SHARDS:
            raise ConfigError(f"{key}={pattern}: stands for more than {MOST_SHARDS:,} files")
    if any(sign in text for text in found for sign in "{}"):
        raise ConfigError(f"{key}={pattern}: a brace is not closed; expected {{000000..000099}} or {{a,b}}")
    return found


def _expand_first(text: str, typed: str) -> list[str]:
    """Replace the first pair of braces that has none inside."""
    if (found := BRACES.search(text)) is None:
        return [text]
    inside = found[1]
    if numbers := RANGE.fullmatch(inside):
        first, last = int(numbers[1]), int(numbers[2])
        if first > last or last - first >= MOST_SHARDS:
            raise ConfigError(f"{typed}: {{{inside}}} stands for {max(0, last - first + 1):,} numbers")
        width = len(numbers[1]) if len(numbers[1]) == len(numbers[2]) else 0
        parts = [f"{number:0{width}}" for number in range(first, last + 1)]
    elif "," in inside:
        parts = inside.split(",")
    else:
        raise ConfigError(f"{typed}: {{{inside}}} is neither a range such as {{00..99}} nor a list {{a,b}}")
    return [text[: found.start()] + part + text[found.end() :] for part in parts]


def local_shards(path: str, *, endings: Sequence[str], key: str) -> list[Shard]:
    """Return the files of a folder (sorted), of a pattern with `*` (sorted), or the file itself.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    place = Path(path.removeprefix("file://")).expanduser().absolute()
    if place.is_dir():
        found = sorted(p for p in place.iterdir() if p.name.endswith(tuple(endings)) and not p.name.startswith("."))
        what = f"the folder has no files {' or '.join(f'*{ending}' for ending in endings)}"
    elif MAGIC.search(place.name):
        found = sorted(Path(name) for name in glob.glob(str(place)))
        what = "no file fits this pattern"
    else:
        found, what = [place], ""
        if not os.path.lexists(place):
            raise DataError(f"{place} ({key}): the file does not exist; a shard is lost, or the path is wrong")
    if not found:
        raise DataError(f"{place} ({key}): {what}")
    return [_local(each) for each in found]


def _local(path: Path) -> Shard:
    check_file(path, most=MOST)
    state = path.stat()
    return Shard(str(path), state.st_size, str(state.st_mtime_ns), path)


def splits_of(shards: Sequence[Shard]) -> list[str]:
    """Return the split of each shard, if all names begin with one (`train-0001.tar`, `val-0001.tar`), else "".

    A folder of training shards alone has no splits: all of its examples are divided as usual.
    """
    words = [re.split(r"[-_.\d]", shard.file, maxsplit=1)[0].lower() for shard in shards]
    found = [SPLIT_OF.get(word, "") for word in words]
    return found if "train" in found and "" not in found and len(set(found)) > 1 else [""] * len(found)


def common_folder(shards: Sequence[Shard]) -> str:
    """Return the part of the names, as folders, that all shards have in common."""
    parts = [shard.name.split("/") for shard in shards]
    same = 0
    while all(len(one) > same + 1 and one[same] == parts[0][same] for one in parts):
        same += 1
    return "/".join(parts[0][:same]) if parts else ""


def short_names(shards: Sequence[Shard]) -> list[str]:
    """Return the names without the folders that all of them have in common."""
    folder = common_folder(shards)
    return [shard.name[len(folder) :].removeprefix("/") for shard in shards]

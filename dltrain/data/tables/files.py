"""The files of a table: one for each split, or many, in folders, patterns and object stores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltrain.data.shards.find import find_shards
from dltrain.data.shards.names import MAGIC, is_remote, short_names
from dltrain.errors import DataError

ENDINGS = (".parquet", ".pq")  # of the files of a folder
MOST = 30_000  # files; the number of each row's file has 16 bits


@dataclass(frozen=True)
class Files:
    """Files with the same columns.

    Attributes:
        paths: on this machine; the first decides on names and types.
        splits: the split of each; rows of `train`, or of "", are split further.
        names: how a run records them; empty if each split has one file at most.
        keep: locks of copies of remote files.
    """

    paths: tuple[Path, ...]
    splits: tuple[str, ...]
    names: tuple[str, ...] = ()
    keep: Any = None

    def described(self, digests: Sequence[str]) -> dict[str, list[Any]]:
        """Return size and digest of each of many files, by name."""
        if not self.names:
            return {}
        found = zip(self.names, self.paths, digests, strict=True)
        return {name: [path.stat().st_size, digest] for name, path, digest in found}

    def published(self, file: np.ndarray) -> dict[str, np.ndarray]:
        """Return the rows of splits that have files of their own; `file` is that of each row, int [N]."""
        own = {name: [i for i, split in enumerate(self.splits) if split == name] for name in self.splits}
        return {
            name: np.flatnonzero(np.isin(file, which)) for name, which in own.items() if name not in ("", "train")
        }


def find_files(paths: Mapping[str, str | None], *, root: str | None = None, timeout: float = 60.0) -> Files:
    """Find the files that the paths of splits stand for.

    Args:
        paths: split -> a file; or a folder of Parquet files, a pattern (`part-{000..999}.csv`, `part-*.parquet`) or
            an address such as `s3://bucket/part-*.parquet`.
        root: the folder that they are in.
        timeout: seconds in which a remote file system has to answer.

    Raises:
        DataError: one does not exist.
    """
    given = {split: path for split, path in paths.items() if path}
    if not any(_is_many(path, root) for path in given.values()):
        return Files(tuple(Path(root or "", p).expanduser().absolute() for p in given.values()), tuple(given))
    found = find_shards(given, root=root, endings=ENDINGS, timeout=timeout)
    if len(found.shards) > MOST:
        raise DataError(
            f"data.path={given['train']}: {len(found.shards):,} files, expected at most {MOST:,}; join some"
        )
    local = tuple(shard.path for shard in found.shards if shard.path is not None)
    return Files(local, tuple(found.splits), tuple(short_names(found.shards)), found.keep)


def _is_many(path: str, root: str | None) -> bool:
    if is_remote(path) or path.startswith("file://"):
        return True
    place = Path(root or "", path).expanduser()
    return place.is_dir() or (not place.exists() and bool(MAGIC.search(place.name) or "{" in path))

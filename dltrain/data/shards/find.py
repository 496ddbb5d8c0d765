"""The shards of all splits, on this machine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dltrain.data.shards.cache import copy_here
from dltrain.data.shards.names import Shard, expand, is_remote, local_shards, splits_of
from dltrain.data.shards.remote import remote_shards
from dltrain.errors import ConfigError, DataError


@dataclass(frozen=True)
class Shards:
    """Shards that this machine has.

    Attributes:
        shards: the files, those of training first.
        splits: the split of each, or "" where names and keys do not decide.
        keep: locks that keep copies of remote ones from being removed.
    """

    shards: Sequence[Shard]
    splits: Sequence[str]
    keep: Any


def find_shards(
    paths: Mapping[str, str | None], *, root: str | None, endings: Sequence[str], timeout: float
) -> Shards:
    """Find the shards that paths stand for, and copy those of object stores here.

    Args:
        paths: split -> folder, file, pattern or address; None for a split that has none.
        root: the folder that paths are in which are no addresses.
        endings: of the files of a folder.
        timeout: seconds in which a file system has to answer.

    Raises:
        ConfigError: a package is missing, or a pattern is wrong.
        DataError: a shard does not exist, or is named twice.
    """
    found: list[Shard] = []
    splits: list[str] = []
    for split, path in paths.items():
        if path is None:
            continue
        shards = _listed(path, root, endings, "data.path" if split == "train" else f"data.{split}_path", timeout)
        by_name = splits_of(shards) if split == "train" and len([p for p in paths.values() if p]) == 1 else None
        found += shards
        splits += by_name or [split] * len(shards)
    seen: set[str] = set()
    for shard in found:
        if shard.name in seen:
            raise DataError(f"{shard.name}: this shard is named twice (data.path and the paths of splits)")
        seen.add(shard.name)
    here, keep = copy_here(found, key="data.path", timeout=timeout)
    return Shards(here, splits, keep)


def _listed(path: str, root: str | None, endings: Sequence[str], key: str, timeout: float) -> list[Shard]:
    if not path:
        raise ConfigError(f"{key}: is empty; give a folder, a file, a pattern or an address")
    texts = expand(path, key)
    if is_remote(path):
        return remote_shards(texts, endings=endings, key=key, timeout=timeout)
    places = [text if text.startswith("file://") else os.path.join(root or "", text) for text in texts]
    return [shard for place in places for shard in local_shards(place, endings=endings, key=key)]

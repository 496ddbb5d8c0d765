"""The examples of tar shards: where the image of each is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dltrain.data.images.decode import ENDINGS
from dltrain.data.shards.names import short_names
from dltrain.data.shards.tar_index import Index
from dltrain.errors import DataError


@dataclass(frozen=True)
class Examples:
    """The examples of all shards, in order.

    Attributes:
        indexes: of the shards.
        names: of the shards, short.
        starts: the number of the first example of each shard, int [S + 1].
        offsets: where the image of each begins, int64 [N].
        sizes: of the images in bytes, int64 [N].
        endings: of the images, as numbers of the endings of the shard, int [N].
    """

    indexes: Sequence[Index]
    names: Sequence[str]
    starts: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    endings: np.ndarray

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.offsets)

    def shard(self, index: int) -> int:
        """Return the number of the shard of an example."""
        return int(np.searchsorted(self.starts, index, side="right")) - 1

    def where(self, index: int) -> str:
        """Return shard and image of an example."""
        shard = self.shard(index)
        found = self.indexes[shard]
        return f"{self.names[shard]}, {found.keys[index - self.starts[shard]]}.{found.endings[self.endings[index]]}"

    def key(self, index: int) -> str:
        """Return shard and key of an example, for messages about its label."""
        shard = self.shard(index)
        return f"{self.indexes[shard].shard.name}, {self.indexes[shard].keys[index - self.starts[shard]]}"


def find_examples(indexes: Sequence[Index], image: str | None) -> Examples:
    """Find the image of each example.

    Args:
        indexes: of the shards.
        image: ending of the images; None: the only image that an example has.

    Raises:
        DataError: an example has none, or several; names shard and key.
    """
    wanted = ENDINGS if image is None else (f".{image.lower().removeprefix('.')}",)
    offsets, sizes, chosen = [], [], []
    for index in indexes:
        columns = [e for e, ending in enumerate(index.endings) if f".{ending}".endswith(wanted)]
        there = index.offsets[:, columns] >= 0
        _check_images(index, there, columns, image)
        column = np.array(columns)[there.argmax(1)]
        rows = np.arange(len(index))
        offsets.append(index.offsets[rows, column])
        sizes.append(index.sizes[rows, column])
        chosen.append(column)
    starts = np.cumsum([0, *map(len, indexes)])
    names = short_names([index.shard for index in indexes])
    return Examples(indexes, names, starts, *(np.concatenate(parts) for parts in (offsets, sizes, chosen)))


def _check_images(index: Index, there: np.ndarray, columns: Sequence[int], image: str | None) -> None:
    """Raise DataError unless each example of a shard has one image."""
    name, what = index.shard.name, "image" if image is None else f".{image.removeprefix('.')} member"
    if not len(index):
        raise DataError(f"{name}: has no examples; expected members such as 000001.jpg and 000001.cls")
    counts = there.sum(1) if columns else np.zeros(len(index), int)
    if (lost := np.flatnonzero(counts == 0)).size:
        key = index.keys[lost[0]]
        has = ", ".join(e for i, e in enumerate(index.endings) if index.offsets[lost[0], i] >= 0)
        raise DataError(f"{name}, {key}: the example has no {what}, only {has} ({lost.size:,} such examples)")
    if image is None and (many := np.flatnonzero(counts > 1)).size:
        row = many[0]
        has = [index.endings[e] for e, one in zip(columns, there[row], strict=True) if one]
        raise DataError(
            f"{name}, {index.keys[row]}: has several images, {', '.join(has)}; choose: data.image={has[0]}"
        )

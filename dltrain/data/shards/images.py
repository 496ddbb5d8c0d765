"""Images in tar shards that are decoded whenever they are read: nothing but the shards is kept on the disk."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dltrain.data.description import Description
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.shards.members import Members
from dltrain.errors import DataError
from dltrain.types import Spec


class ShardedImages:
    """A source of images that stay in their shards.

    Attributes:
        spec: the features of one example.
        fingerprint: a hash of the shards' content and of the options that decide what is read from them.
        published: indices of the splits that have shards of their own.
        suggestion: the task that suits the targets, and why.
        encoder: how images are decoded.
    """

    def __init__(
        self,
        content: Callable[[int], bytes],
        members: Members,
        targets: np.ndarray,
        *,
        spec: Spec,
        encoder: ImageEncoder,
        fingerprint: str,
        published: Mapping[str, np.ndarray],
        suggestion: tuple[str, str],
        description: Description,
        where: Callable[[int], str],
        keep: Any,
    ) -> None:
        """Keep the targets; `content` returns an encoded image, `members` reads it, `keep` has the locks."""
        self.spec, self.encoder, self.fingerprint = spec, encoder, fingerprint
        self.published, self.suggestion = published, suggestion
        self._content, self._members, self._targets = content, members, targets
        self._description, self._where, self._keep = description, where, keep

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self._targets)

    def read_targets(self) -> np.ndarray:
        """Return the targets of all examples, without decoding their images."""
        return self._targets

    def read(self, indices: np.ndarray) -> dict[str, Any]:
        """Read and decode these examples, int [B], in the order in which they lie in the shards.

        Raises:
            DataError: a shard is gone or was changed, or an image cannot be decoded; names it.
        """
        which, back = np.unique(np.asarray(indices), return_inverse=True)  # padding repeats one example
        found = np.empty((len(which), *self.encoder.feature.shape), np.uint8)
        for i, index in enumerate(which.tolist()):
            data = self._content(index)
            try:
                found[i] = self.encoder.one(data)
            except DataError as error:
                raise DataError(f"{self._where(index)}: {error}") from error
        return {"inputs": found[back.reshape(-1)], "targets": self._targets[indices]}

    def reading(self) -> str:
        """Return the shards that threads are reading now."""
        return self._members.reading()

    def describe(self, train: np.ndarray) -> Description:
        """Return what was found in the shards."""
        del train
        return self._description

    def where(self, index: int) -> str:
        """Return shard and member of an example."""
        return self._where(index)

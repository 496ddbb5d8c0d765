"""Config -> the data as it was read, before anything is fitted: for commands that look at data without training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dltrain.build.data import is_stateful, open_source
from dltrain.build.model import make_task
from dltrain.build.split import split_source
from dltrain.config import schema
from dltrain.data.description import Description, describe, where_of
from dltrain.data.scan import read_targets
from dltrain.data.split import Splits
from dltrain.types import Spec


@dataclass(frozen=True)
class Look:
    """Data as it was read.

    Attributes:
        source: the source; one that encodes is not fitted.
        spec: its features; of a source that encodes only the targets.
        targets: of all examples, [N, ...], or a dict of such.
        splits: the splits.
        description: what the source says about its files.
    """

    source: Any
    spec: Spec
    targets: Any
    splits: Splits
    description: Description | None

    @property
    def target(self) -> np.ndarray | None:
        """The classes [N], or the first column of numbers [N]; None for other targets."""
        if isinstance(self.targets, Mapping):
            return None
        if self.spec.has_labels:
            return self.targets
        flat = np.asarray(self.targets)
        return flat[:, 0] if flat.ndim == 2 and np.issubdtype(flat.dtype, np.floating) else None

    def where(self, index: int) -> str:
        """Return where an example is: file and row, or its number."""
        return where_of(self.source, index)


def look_at(config: Mapping[str, Any], trust: tuple[str, ...]) -> Look:
    """Read and split the data of a config.

    Raises:
        DataError: it cannot be read.
    """
    _, own = schema.split_node("data", config["data"])
    task = make_task(config, trust)
    source = open_source(config["data"], trust, task=task, stateful=is_stateful(config))
    spec = replace(source.spec, task=task)
    targets = source.read_targets() if hasattr(source, "read_targets") else read_targets(source)
    splits = split_source(own, source, targets, spec).splits
    return Look(source, spec, targets, splits, describe(source, splits.train))

"""Which metrics are NaN on a split whatever a model predicts: known from its targets, before training."""

from collections.abc import Mapping

import numpy as np

from dltrain.build.parts import Parts


def undefined_metrics(parts: Parts, split: str) -> dict[str, str]:
    """Return name -> reason of the metrics that cannot be computed on a split.

    A metric says so itself, with a method `why_undefined(targets [N, ...]) -> str`, which returns "" if it can be
    computed. Of streamed data only the classes that occur are known.
    """
    if (targets := _targets(parts, split)) is None:
        return {}
    found = {
        name: metric.why_undefined(targets)
        for name, metric in parts.metrics.items()
        if hasattr(metric, "why_undefined")
    }
    return {name: reason for name, reason in found.items() if reason}


def _targets(parts: Parts, split: str) -> np.ndarray | None:
    rows = parts.splits[split]
    if not len(rows):
        return None
    if parts.arrays is not None and not isinstance(parts.arrays["targets"], Mapping):
        return parts.arrays["targets"][rows]
    return np.flatnonzero(parts.spec.counts[split]) if split in parts.spec.counts else None

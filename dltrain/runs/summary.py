"""What is read from the summary of a run."""

from collections.abc import Mapping
from typing import Any


def monitored(summary: Mapping[str, Any]) -> float | None:
    """Return the monitored metric at the best step; None without one."""
    split, _, name = (summary.get("monitor") or "").partition("/")
    return summary.get("best", {}).get(split, {}).get(name)

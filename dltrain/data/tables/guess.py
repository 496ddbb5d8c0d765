"""A guess of the column to predict, for a table whose target nobody named."""

from collections.abc import Sequence

USUAL = ("target", "label", "class", "y", "outcome", "response", "category")
"""Names that targets usually have, the most likely first; capitals do not matter."""


def guess_target(names: Sequence[str]) -> tuple[str, str]:
    """Return the column that is probably the target, and why: the one with a usual name, else the last."""
    lower = [name.strip().lower() for name in names]
    if found := next((usual for usual in USUAL if usual in lower), None):
        return names[lower.index(found)], "its name says so"
    return names[-1], "the last column"

"""A finding: something about the data that its user should know before training."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class What(StrEnum):
    """What is found, in the order of the report."""

    LEAK = "target leak"
    TEST_IN_TRAIN = "test rows in train"
    DATES = "dates after the split"
    UNREADABLE = "unreadable"
    MIXED = "mixed types"
    IMBALANCE = "class imbalance"
    DUPLICATES = "duplicates"
    NEAR_DUPLICATES = "near-duplicates"
    CONSTANT = "constant column"
    IDENTIFIER = "identifier"
    EQUAL_COLUMNS = "equal columns"
    MISSING = "missing values"
    STUCK = "stuck values"
    OUTLIERS = "outliers"
    SEASON = "season"
    UNCHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
        what: its kind.
        where: the column, or "" for whole rows.
        text: a sentence with numbers.
        advice: what to do about it; "" if that depends.
    """

    what: What
    where: str
    text: str
    advice: str = ""


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings, the most harmful kinds first."""
    kinds = list(What)
    return sorted(findings, key=lambda finding: kinds.index(finding.what))

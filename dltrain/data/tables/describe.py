"""The table of columns and what they mean, which a run prints at its start and `inspect` before."""

from collections.abc import Mapping, Sequence
from typing import Any

from dltrain.data.bad import Bad, OnBad, Skipping, as_csv, check_bad
from dltrain.data.description import Description
from dltrain.data.tables.columns import Column, Meaning
from dltrain.data.tables.target import Target

HEADINGS = ("column", "meaning", "found in the training rows", "missing", "different")


def describe_columns(files: Description, columns: Sequence[Column], targets: Any, target: Target) -> Description:
    """Describe a table.

    Args:
        files: what was found in the files as such.
        columns: the columns that are not targets.
        targets: those that are, of the training rows, a polars frame.
        target: what they are used as.
    """
    found = [
        *((name, "target", target.words(targets[name]), 0, targets[name].n_unique()) for name in targets.columns),
        *((c.name, str(c.meaning), c.why, c.missing, c.distinct) for c in columns),
    ]
    rows = [(*texts, f"{missing:,}", f"{distinct:,}") for *texts, missing, distinct in found]
    notes = list(files.notes)
    if texts := [column.name for column in columns if column.meaning is Meaning.TEXT]:
        notes.append(f"texts become hashed words and pairs of words: {', '.join(texts)}")
    if lost := [column.name for column in columns if not column.meaning.is_input]:
        notes.append(f"left out: {', '.join(lost)}; 'data.meanings={{{lost[0]}: category}}' takes it")
    return Description(notes, HEADINGS, rows, files.bad_rows, files.files)


def describe_files(
    notes: Sequence[str], bad: Sequence[Bad], total: int, files: Mapping[str, Sequence[Any]]
) -> Description:
    """Describe the files as such: their format, rows that are left out, and of many files sizes and digests."""
    left_out = check_bad(bad, total, Skipping(OnBad.SKIP, 1.0))
    return Description([*notes, *([left_out] if left_out else [])], bad_rows=as_csv(bad), files=files)

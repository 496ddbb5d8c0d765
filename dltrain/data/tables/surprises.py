"""What new rows of a table have that the training rows did not."""

from typing import Any, NamedTuple

from dltrain.data.tables.convert import missing_as_null
from dltrain.data.tables.encode import LEVEL_OF_MISSING, TableEncoder


class Surprise(NamedTuple):
    """Values of a column that the training rows did not have."""

    column: str
    what: str
    count: int
    example: str = ""


def surprises(encoder: TableEncoder, frame: Any) -> list[Surprise]:
    """Return what the training rows did not have, and what takes its place.

    Args:
        encoder: what was fitted on the training rows.
        frame: rows that can be encoded, a polars frame.
    """
    found = []
    for name, fitted in {**encoder.numbers, **encoder.dates}.items():
        if not fitted["indicator"] and (count := missing_as_null(frame[name], encoder.missing).null_count()):
            median = f", {fitted['median']:g}," if "median" in fitted else ""
            what = f"missing, which none was in training; the training median{median} is used"
            found.append(Surprise(name, what, count))
    for name, levels in encoder.categories.items():
        values = encoder.level_texts(missing_as_null(frame[name], encoder.missing)).fill_null(LEVEL_OF_MISSING)
        unseen = values.filter(~values.is_in(list(levels)))
        if len(unseen):
            found.append(Surprise(name, "not seen in training, which count as unknown", len(unseen), unseen[0]))
    return found

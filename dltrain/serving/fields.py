"""What a person writes for one example: the columns of a table, a text, an image; and the checks of it.

A request must never make the server read a file. Encoders take paths of images, so what reaches them for an image
is the content of a file (bytes), which was uploaded or is base64 in JSON.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dltrain.data.encoders import NumbersEncoder
from dltrain.data.images.encode import ImageEncoder
from dltrain.data.tables.encode import LEVEL_OF_MISSING, TableEncoder
from dltrain.data.texts.encode import TextEncoder
from dltrain.ranges import LARGEST
from dltrain.serving.limits import Refused

Record = Mapping[str, Any]
Columns = dict[str, list[Any]]
DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")
WHOLE = 2**63
A_DAY = datetime(2024, 1, 31, 12)  # how dates are written


class FieldKind(StrEnum):
    """What a field holds."""

    NUMBER = "number"
    CATEGORY = "category"
    DATE = "date"
    TEXT = "text"
    IMAGE = "image"
    ANY = "any"


EXPECTED = {
    FieldKind.NUMBER: "a number",
    FieldKind.CATEGORY: "a text, a number, true or false",
    FieldKind.DATE: "a date as a text",
    FieldKind.TEXT: "a text",
    FieldKind.IMAGE: "the content of an image file as base64",
    FieldKind.ANY: "a number or a text",
}


@dataclass(frozen=True)
class Field:
    """One value of an example.

    Attributes:
        name: the name of the column.
        kind: what it holds.
        levels: of a category, the known ones.
        optional: whether it may be missing (null).
        example: a typical value, as a text.
        size: of an image, its height and width for the model.
        channels: of an image.
    """

    name: str
    kind: FieldKind
    levels: tuple[str, ...] = ()
    optional: bool = True
    example: str = ""
    size: int = 0
    channels: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what there is, for `/signature`."""
        found = {"name": self.name, "kind": str(self.kind), "optional": self.optional}
        parts = {"levels": list(self.levels), "example": self.example, "size": self.size, "channels": self.channels}
        return found | {name: value for name, value in parts.items() if value}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Field":
        """Return the field that `to_json` returned."""
        rest = {name: saved[name] for name in ("optional", "example", "size", "channels") if name in saved}
        return cls(saved["name"], FieldKind(saved["kind"]), tuple(saved.get("levels", ())), **rest)

    def checked(self, value: Any, row: int) -> Any:
        """Return a value as an encoder may see it: an image as bytes, others unchanged.

        Raises:
            Refused: it is of another kind, not finite, or missing where it may not be.
        """
        if value is None and self.optional:
            return None
        if value is None:
            raise self._refused(row, "null")
        if self.kind is FieldKind.IMAGE:
            return value if isinstance(value, bytes) else self._content(value, row)
        text = isinstance(value, str)
        plain = text or isinstance(value, bool | int | float)
        fits = text if self.kind in (FieldKind.TEXT, FieldKind.DATE) else plain
        if not fits:
            raise self._refused(row, type(value).__name__ if not plain else repr(value)[:60])
        if not text and not abs(value) < (WHOLE if isinstance(value, int) else LARGEST):
            raise self._refused(row, f"{value:.6g}"[:60], of="a finite number that float32 can hold")
        if text and "\0" in value:
            raise self._refused(row, "a text with the character NUL")
        return value

    def _content(self, value: Any, row: int) -> bytes:
        if not isinstance(value, str):
            raise self._refused(row, type(value).__name__)
        try:
            found = base64.b64decode(DATA_URL.sub("", value, count=1), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._refused(row, f"a text that is not base64 ({error})") from error
        if not found:
            raise self._refused(row, "nothing")
        return found

    def _refused(self, row: int, found: str, *, of: str = "") -> Refused:
        return Refused(400, f"row {row}: {self.name} is {found}, expected {of or EXPECTED[self.kind]}")


def fields_of(encoder: Any) -> tuple[Field, ...]:
    """Return the fields of an example of a fitted encoder; none if the model takes arrays only."""
    if isinstance(encoder, TableEncoder):
        return _of_table(encoder)
    if isinstance(encoder, TextEncoder):
        return (Field(encoder.column, FieldKind.TEXT, optional=False),)
    if isinstance(encoder, ImageEncoder):
        about = {"size": encoder.size, "channels": encoder.channels}
        return (Field("image", FieldKind.IMAGE, optional=False, **about),)
    if isinstance(encoder, NumbersEncoder):
        return tuple(Field(name, FieldKind.NUMBER, optional=False) for name in encoder.names)
    return tuple(Field(name, FieldKind.ANY) for name in getattr(encoder, "columns", ()))


def _of_table(encoder: TableEncoder) -> tuple[Field, ...]:
    numbers = (
        Field(name, FieldKind.NUMBER, example=f"{about['median']:.6g}") for name, about in encoder.numbers.items()
    )
    dates = (
        Field(name, FieldKind.DATE, example=A_DAY.strftime(about["format"] or "%Y-%m-%d"))
        for name, about in encoder.dates.items()
    )
    categories = (
        Field(name, FieldKind.CATEGORY, tuple(level for level in levels if level != LEVEL_OF_MISSING))
        for name, levels in encoder.categories.items()
    )
    texts = (Field(name, FieldKind.TEXT) for name in encoder.texts)
    images = (
        Field(name, FieldKind.IMAGE, size=about.encoder.size, channels=about.encoder.channels)
        for name, about in encoder.images.items()
    )
    return (*numbers, *dates, *categories, *texts, *images)


def columns_of(records: Sequence[Record], fields: Sequence[Field]) -> Columns:
    """Return examples as columns by name, checked; names that are no field are left out.

    Raises:
        Refused: a name is missing, a value is of another kind, or the values of a column are of different kinds.
    """
    for row, record in enumerate(records):
        if lost := [field.name for field in fields if field.name not in record]:
            given = ", ".join(list(record)[:20]) or "nothing"
            names = ", ".join(field.name for field in fields)
            hint = "; write null for a missing value" if any(field.optional for field in fields) else ""
            raise Refused(400, f"row {row}: {lost[0]} is missing; expected {names}, found {given}{hint}")
    found = {}
    for field in fields:
        found[field.name] = [field.checked(record[field.name], row) for row, record in enumerate(records)]
        kinds = {_sort(value) for value in found[field.name]} - {""}
        if len(kinds) > 1:
            raise Refused(400, f"{field.name}: the rows have {' and '.join(sorted(kinds))}; expected one kind")
    return found


def ignored(records: Sequence[Record], fields: Sequence[Field]) -> list[str]:
    """Return the names in records that are no field."""
    known = {field.name for field in fields}
    return sorted({name for record in records for name in record if name not in known})


def _sort(value: Any) -> str:
    """Name the kind of a value of JSON in a column; "" for a missing one."""
    if isinstance(value, bool):
        return "true or false"
    return "numbers" if isinstance(value, int | float) else "" if value is None else "texts"

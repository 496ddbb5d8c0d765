"""The bytes of a text file as UTF-8: unpacked, of a known encoding, and with line feeds at the ends of lines."""

import bz2
import codecs
import gzip
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltrain.data.tables.options import SettableError
from dltrain.errors import ConfigError, DataError

PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open, b"BZh": bz2.open}
"""First bytes of a compressed file -> what opens it."""
NO_TABLES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive, such as an Excel workbook; save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file; export the table as Parquet or CSV",
    b"\x7fELF": "a program",
    b"(\xb5/\xfd": "compressed by zstd; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\x80\x04\x95": "a Python pickle; export the table as Parquet or CSV",
}
"""First bytes of a file that is not a table -> what it is."""
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order mark -> encoding; UTF-32 before UTF-16, whose mark begins that of UTF-32."""
CHUNK = 1 << 24
JUNK = 8192  # bytes in which control characters are counted


@dataclass(frozen=True)
class Content:
    """A text file: `data` is UTF-8 with line feeds or CRLF, without byte order mark."""

    data: bytes
    encoding: str
    marked: bool  # whether it began with a byte order mark


def read_content(path: Path, *, encoding: str, most: int) -> Content:
    """Read a text file, unpacked if it is compressed.

    Args:
        path: the file.
        encoding: `auto`, or a name that Python knows.
        most: largest number of bytes, unpacked.

    Raises:
        ConfigError: the encoding is unknown.
        DataError: the file is not text, is damaged, or has another encoding.
    """
    raw = unpacked(path, most=most)
    if not raw.strip() or raw in MARKS:
        raise DataError(f"{path}: is empty; expected a table with a header and rows")
    found = next((what for magic, what in NO_TABLES.items() if raw.startswith(magic)), None)
    if found:
        raise DataError(f"{path}: is not a table but {found}")
    content = _decoded(path, raw, encoding)
    if re.match(rb"\s*(<!doctype html|<html|<\?xml)", content.data[:200], re.IGNORECASE):
        raise DataError(f"{path}: is not a table but a web page or XML; a download may have failed")
    if content.encoding not in MARKS.values() or b"\0" in content.data[:JUNK]:  # UTF-8 is text, whatever is in it
        _refuse_junk(path, content.data)
    data = content.data
    if b"\r" in data and b"\n" not in data:
        data = data.replace(b"\r", b"\n")  # as old Macs wrote it
    return Content(data, content.encoding, content.marked)


def unpacked(path: Path, *, most: int) -> bytes:
    """Return the bytes of a file, unpacked if it is compressed by gzip, xz or bzip2."""
    parts, size = [], 0
    try:
        with path.open("rb") as plain:
            start = plain.read(6)
            opener = next((o for magic, o in PACKED.items() if start.startswith(magic)), None)
            plain.seek(0)
            file = opener(plain) if opener else plain
            while part := file.read(CHUNK):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise DataError(
                        f"{path}: has more than {most:,} bytes{' unpacked' if opener else ''}, which do not fit "
                        "into memory; convert it to Parquet, or take a part of it"
                    )
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the compressed file is damaged or cut short ({error})") from error
    except OSError as error:
        raise DataError(f"{path} (data.path): cannot be read ({error.strerror or error})") from error
    return b"".join(parts)


def _decoded(path: Path, raw: bytes, encoding: str) -> Content:
    mark = next((m for m in MARKS if raw.startswith(m)), b"")
    name = MARKS.get(mark, "utf-8") if encoding == "auto" else encoding
    try:
        plain = codecs.lookup(name).name
    except LookupError:
        raise ConfigError(f"data.encoding={name}: unknown; try utf-8, utf-16, latin-1 or cp1252") from None
    if encoding == "auto" and not mark and (wide := _utf16_without_mark(raw)):
        plain = wide
    body = raw[len(mark) :] if mark and (encoding == "auto" or plain.replace("_", "-").startswith("utf")) else raw
    plain = MARKS[mark] if mark and plain in ("utf-16", "utf-32", "utf-8-sig") else plain
    try:
        text = body.decode(plain)
        return Content(body if plain == "utf-8" else text.encode(), plain, bool(mark))
    except UnicodeDecodeError as error:
        if encoding != "auto" or mark or plain != "utf-8" or not _is_single_byte(body):
            line = body.count(b"\n", 0, error.start) + 1
            raise SettableError(
                f"{path}, line {line}: found the byte 0x{body[error.start]:02x}, expected {plain}; save the file "
                "as UTF-8",
                ", or name its encoding, such as data.encoding=cp1252",
            ) from error
    for single in ("cp1252", "latin-1"):
        try:
            return Content(body.decode(single).encode(), single, False)
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def _is_single_byte(raw: bytes) -> bool:
    """Tell whether bytes that are not valid UTF-8 look like one byte per character, not like damaged UTF-8."""
    beyond = len(re.findall(rb"[\x80-\xff]", raw))
    valid = sum(map(len, re.findall(rb"[\xc3-\xdf][\x80-\xbf]|[\xe1-\xef][\x80-\xbf]{2}", raw)))
    return valid < beyond / 2


def _utf16_without_mark(raw: bytes) -> str:
    """Return the encoding of text with a zero in every second byte, "" if this is none."""
    head = raw[: 4096 & ~1]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) < 0.4 * len(head) or min(even, odd) > 0.02 * len(head):
        return ""
    return "utf-16-be" if even > odd else "utf-16-le"


def _refuse_junk(path: Path, data: bytes) -> None:
    head = data[:JUNK]
    control = sum(head.count(byte) for byte in range(32) if byte not in b"\t\n\r\f")
    if control > max(8, 0.05 * len(head)):
        raise DataError(
            f"{path}: is not a table but binary data; expected CSV, TSV, Parquet, JSON lines or Feather"
        )

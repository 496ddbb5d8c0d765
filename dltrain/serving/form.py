"""The parts of a multipart/form-data body that is in memory (RFC 7578)."""

import re

from dltrain.serving.limits import Refused

MOST_PARTS = 1100
_BOUNDARY = re.compile(r'boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70})"?')
_NAME = re.compile(rb'\bname="((?:[^"\\]|\\.)*+)"', re.IGNORECASE)
_FILE = re.compile(rb"\bfilename\*?=", re.IGNORECASE)


def parse_form(body: bytes, content_type: str) -> list[tuple[str, bytes, bool]]:
    """Return name and content of each part, and whether it is an uploaded file.

    Raises:
        Refused: it is not such a body.
    """
    found = _BOUNDARY.search(content_type)
    if not found:
        raise Refused(400, "multipart/form-data: the boundary is missing in Content-Type")
    mark = b"\r\n--" + found[1].strip().encode()
    pieces = (b"\r\n" + body).split(mark, MOST_PARTS)
    if len(pieces) > MOST_PARTS:
        raise Refused(413, f"multipart/form-data: more than {MOST_PARTS} parts", reason="rows")
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Refused(400, "multipart/form-data: the body does not end with its boundary, or has no parts")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> tuple[str, bytes, bool]:
    head, separator, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition:")]
    name = _NAME.search(re.sub(rb'filename="(?:[^"\\]|\\.)*+"', b'filename=""', lines[0])) if lines else None
    if not separator or name is None:
        raise Refused(400, "multipart/form-data: a part has no Content-Disposition with a name")
    return name[1].decode(errors="replace"), content, bool(_FILE.search(lines[0]))

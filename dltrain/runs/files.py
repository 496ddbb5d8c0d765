"""Writing so that what is there stays there: sync, rename, and errors that name the disk and no secret."""

import contextlib
import json
import os
import re
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from dltrain.errors import DiskError


@contextlib.contextmanager
def writing(what: Path) -> Generator[None]:
    """Turn an OSError inside, and what TensorStore makes of one, into a DiskError that names `what`."""
    try:
        yield
    except (OSError, ValueError) as error:
        told = re.search(r"\[(?:os_error_code='|OS error )(\d+)", str(error))  # by two versions of TensorStore
        if isinstance(error, ValueError) and not told:
            raise
        reason = os.strerror(int(told[1])) if told else getattr(error, "strerror", None)
        raise DiskError(f"cannot write {what}: {reason or error}; free some space or choose output_dir") from error


def replace_text(path: Path, text: str) -> None:
    """Write a whole file so that a reader, or a crash, sees the old one or the new one and nothing between."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a whole file of bytes, as `replace_text` does."""
    with writing(path):
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(data)
        sync(new)
        new.replace(path)
        sync(path.parent)


def replace_json(path: Path, value: Any) -> None:
    """Write a value as JSON; NaN and infinities become null, which JSON has no word for."""
    replace_text(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def sync(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hide(message: str, texts: Iterable[str]) -> str:
    """Put `${oc.env:TOKEN}` back where a message has the value of a variable that one of these texts asks for."""
    for name in sorted({name for text in texts for name in re.findall(r"oc\.env\s*:\s*(\w+)", text)}):
        value = os.environ.get(name, "")
        for shown in (value, value[:57]) if len(value) > 3 else ():  # 57: long values are cut short in messages
            message = message.replace(shown, f"${{oc.env:{name}}}")
    return message


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

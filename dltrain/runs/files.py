"""Atomic, synced writes, and error messages that name the path and contain no secrets."""

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
    """Convert an OSError inside, also one wrapped by TensorStore, into a DiskError that names `what`."""
    try:
        yield
    except (OSError, ValueError) as error:
        code = re.search(r"\[(?:os_error_code='|OS error )(\d+)", str(error))  # in two versions of TensorStore
        if isinstance(error, ValueError) and not code:
            raise
        reason = os.strerror(int(code[1])) if code else getattr(error, "strerror", None)
        raise DiskError(f"cannot write {what}: {reason or error}; free some space or choose output_dir") from error


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically: a reader, also after a crash, sees the old content or the new."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace a binary file atomically, like `replace_text`."""
    with writing(path):
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(data)
        sync(new)
        new.replace(path)
        sync(path.parent)


def replace_json(path: Path, value: Any) -> None:
    """Write a value as JSON; NaN and infinities, which JSON does not have, become null."""
    replace_text(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def sync(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hide(message: str, texts: Iterable[str]) -> str:
    """Replace values of environment variables that `texts` refer to in a message by `${oc.env:NAME}`."""
    for name in sorted({name for text in texts for name in re.findall(r"oc\.env\s*:\s*(\w+)", text)}):
        value = os.environ.get(name, "")
        for shown in (value, value[:57]) if len(value) > 3 else ():  # 57: long values are truncated in messages
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

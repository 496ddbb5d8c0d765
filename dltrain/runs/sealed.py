"""JSON files of a run folder that dltrain reads again: their checksum, and a reader that names what is wrong.

A checksum shows damage and edits by hand. It is not a signature: whoever changes a file can compute a new one.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from dltrain.errors import CheckpointError

CHECKSUM = "checksum"
LARGEST = 1 << 28  # bytes of a file; a vocabulary of a million words takes a tenth of that


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a JSON file with the checksum of the rest added."""
    return {**value, CHECKSUM: _digest(value)}


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping, without its checksum; one without a checksum is read as it is.

    Raises:
        CheckpointError: it is missing, is not a file, is not UTF-8 or JSON, or was altered after it was written.
    """
    try:
        value = json.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: it is damaged ({_first_line(error)})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: expected a mapping, found {type(value).__name__}")
    found = value.pop(CHECKSUM, None)
    if found is not None and found != _digest(value):
        raise CheckpointError(f"{path} is damaged, or was edited: its content does not have its checksum")
    return value


def read_bytes(path: Path) -> bytes:
    """Read a file of a run folder.

    Raises:
        CheckpointError: it is missing, is not a regular file (opening a FIFO would wait for ever), or is too large.
    """
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} cannot be read: it is {'a folder' if path.is_dir() else 'not a file'}")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise CheckpointError(f"{path} cannot be read: it is larger than {LARGEST:,} bytes")
    return content


def check_summary(path: Path, found: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the values of a summary that dltrain reads again have their types."""
    _check_types(
        path,
        found,
        {
            "monitor": (str, NoneType),
            "stop_reason": str,
            "higher_is_better": bool,
            "steps": int,
            "identity": (dict, NoneType),
        },
    )
    best = found.get("best", {})
    if not isinstance(best, dict) or not all(isinstance(metrics, dict) for metrics in best.values()):
        raise CheckpointError(f"{path} is damaged: best is {best!r:.40}, expected metrics by split")


def check_started(path: Path, found: Mapping[str, Any]) -> None:
    """Raise CheckpointError unless the record of how a run was started has its types."""
    kinds = {"overrides": list, "choices": dict, "resumed": list, "config": str, "label": str, "known": str}
    _check_types(path, found, kinds)
    if wrong := [word for word in found.get("overrides", ()) if not isinstance(word, str)]:
        raise CheckpointError(f"{path} is damaged: overrides holds {wrong[0]!r:.40}, expected texts")


def _check_types(path: Path, found: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for key, kind in kinds.items():
        if key in found and not isinstance(found[key], kind):
            raise CheckpointError(f"{path} is damaged: {key} is {found[key]!r:.40}")


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(_as_read(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _as_read(value: Any) -> Any:
    """Return a value as it is after it was written and read: what is not finite is null, keys are texts."""
    if isinstance(value, Mapping):
        return {str(key): _as_read(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_read(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

"""Strict JSON: no NaN, no repeated names, bounded depth, valid UTF-8."""

import json
from typing import Any

from dltrain.serving.limits import Refused, check_depth


def parse_json(body: bytes) -> Any:
    """Return the content of a JSON text.

    Raises:
        Refused: 400, says what is wrong and where.
    """
    check_depth(body)
    try:
        found = json.loads(body.decode(), parse_constant=_constant, object_pairs_hook=_object)
        if b"\\ud" in body or b"\\uD" in body:  # half of a pair of surrogates is no text
            json.dumps(found, ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError as error:
        raise Refused(400, "the body has half of a surrogate pair (\\ud800 to \\udfff); expected texts") from error
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8 (byte {error.start}); expected JSON") from error
    except json.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON ({error})") from error
    except RecursionError as error:
        raise Refused(400, "JSON nested too deeply", reason="depth") from error
    except ValueError as error:  # a number with thousands of digits
        raise Refused(400, "the body has a number with too many digits") from error


def dump_json(content: Any) -> bytes:
    """Write JSON; ValueError for NaN and infinity."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _constant(word: str) -> Any:
    raise Refused(400, f"the body has {word}; expected finite numbers, and null for a missing value")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(400, f"the name {twice[:60]!r} is repeated in one JSON object")
    return found

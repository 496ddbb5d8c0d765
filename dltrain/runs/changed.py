"""Which files of data in many files are not those that a run was trained on."""

from collections.abc import Mapping
from typing import Any

FEW = 5  # names in a message


def changed_files(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """Return which files of data in many files differ, for a message; "" if that is not known."""
    if not before or now is None:
        return ""
    lost, new = ([name for name in one if name not in other] for one, other in ((before, now), (now, before)))
    changed = [name for name in before if name in now and list(before[name]) != list(now[name])]
    said = [
        f"{name} has another content ({before[name][0]:,} bytes before, {now[name][0]:,} now)" for name in changed
    ]
    said += [*(f"{name} is gone" for name in lost), *(f"{name} is new" for name in new)]
    return f": {', '.join(said[:FEW])}{f' and {len(said) - FEW} more' * (len(said) > FEW)}" if said else ""

"""Which keys and values say where to read or write: paths, addresses and output folders."""

import re
from typing import Any

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
ASKS = re.compile(r"\$\{\s*oc\.")
PLACE = re.compile(
    r"(.*_)?(path|root|mirrors?|urls?|uri|host|endpoint|address|dir|directory|folder|files?|output|init_from|name)"
)
"""Names of keys that hold a path or an address; `name` is part of one."""

MIRRORS = ("mirror", "mirrors")
"""Names of keys whose values are fetched from."""

TYPED_ONLY = {"output_dir": None, "overwrite": False}
"""Keys that say where to write and what to replace, and their values in dltrain's own YAML."""


def param_fault(key: str, value: Any) -> str:
    """Say why a sweep in a file may not vary this key with these values, nothing if it may."""
    plain = key.lstrip("+~")
    if plain.partition(".")[0] in (*TYPED_ONLY, "trust") or last_name(plain) in MIRRORS:
        return f"hydra.sweeper.params: {plain}: may only be typed on the command line"
    if ADDRESS.search(str(value)) or ASKS.search(str(value)):
        return f"hydra.sweeper.params: {plain}: an address or an environment variable must be typed"
    return ""


def last_name(path: str) -> str:
    """Return the last name in a key, which may be followed by places in lists."""
    return next((part for part in reversed(path.split(".")) if not part.isdigit()), "")

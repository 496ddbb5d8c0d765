"""What a config that nobody typed may not do: choose a host or a place to write to, or put secrets into either.

Files of `--config-dir` and the config of a run folder may come from somebody else. dltrain's own YAML and what is
typed are trusted.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dltrain.config.folders import read_yaml
from dltrain.config.hints import show
from dltrain.config.interpolation import leaf_values
from dltrain.config.places import ADDRESS, MIRRORS, PLACE, TYPED_ONLY, last_name


def untrusted_faults(
    kept: Mapping[str, Any], *, typed: Sequence[str], own: Path, named: Callable[[str], str], saved: bool
) -> list[str]:
    """Say what an untrusted config may not set.

    Args:
        kept: the config, with references followed and `${oc.env:NAME}` as written.
        typed: keys on the command line, which are trusted.
        own: dltrain's own folder of YAML, whose addresses are trusted.
        named: returns ` (in FILE)` for a key.
        saved: whether this is the config of a run folder, of which nothing is written by these keys.
    """
    faults = []
    for path, value in leaf_values(kept):
        if any(path == own_key or path.startswith(f"{own_key}.") for own_key in typed):
            continue
        top, last = path.partition(".")[0], last_name(path)
        key = re.sub(r"(\.\d+)+$", "", path)  # of the list, if this is an item
        if top in TYPED_ONLY or (saved and top in ("name", "init_from")):
            if not saved and value != TYPED_ONLY[top]:
                faults.append(f"{path}={show(value)}: may only be typed on the command line{named(key)}")
            continue
        if not isinstance(value, str):
            continue
        asks = "${" in value  # the environment, or a part of what it holds
        if asks and (PLACE.fullmatch(last) or re.search(r"[/\\]", re.sub(r"\$\{[^}]*\}", "", value))):
            faults.append(
                f"{path}={value}: an environment variable in a path or an address must be typed on the command "
                f"line, since it may be a secret{named(key)}"
            )
        elif (ADDRESS.search(value) or last in MIRRORS) and value not in addresses(own):
            faults.append(
                f"{path}={value}: an address must be typed on the command line, unless it is one of dltrain's own: "
                f"{key}=...{named(key)}"
            )
    return faults


def addresses(own: Path) -> set[str]:
    """Return the addresses in dltrain's own YAML of data sets."""
    found = (read_yaml(path) for path in sorted((own / "data").glob("*.yaml")))
    return {value for node in found for _, value in leaf_values(node) if ADDRESS.match(str(value))}

"""The identity of a run: what decides on its result, as digests, so that no run has to be trained twice.

Runs with the same identity come to the same result, up to the rounding of lanes: config, versions and code of
dltrain, data, and what decides on the last bits are equal. A run whose result depends on something that cannot be
compared, such as a file that the config names, has no identity, and is always trained.
"""

import functools
import hashlib
import importlib.util
import json
import os
import sys
import sysconfig
import threading
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import dltrain
from dltrain.config.changes import ENVIRONMENT, leaves, may_change
from dltrain.config.folders import parse_yaml
from dltrain.devices import runtime

ANYHOW = (
    *("output_dir", "overwrite", "name", "tags", "quiet", "dry_run", "sweep"),
    *("runtime.platform", "runtime.threads", "runtime.cache"),  # `runtime.numerics()` has what came of them
)
"""Keys that decide on no result."""

READERS = ("polars", "pillow", "scipy", "sentencepiece", "datasets", "fsspec")
"""Libraries besides those of `runtime.versions()` that data, or its scaling, may come from."""


_OF_PROCESS = threading.Lock()


def config_digest(text: str) -> str | None:
    """Return the digest of a config as it is saved, with absolute paths; None if it does not say everything.

    It does not if it starts from other weights, ends after a time, has a value from the environment, or names a
    file anywhere but as the data, whose content is compared.
    """
    return settings_digest(leaves(parse_yaml(text)))


def settings_digest(settings: Mapping[str, str]) -> str | None:
    """Return the same, given what `leaves` makes of the config."""
    decisive = {key: value for key, value in settings.items() if not may_change(key, ANYHOW)}
    if any(decisive.get(key, "null") != "null" for key in ("init_from", "stop.time")):
        return None
    if any(ENVIRONMENT.search(value) or _names_file(key, value) for key, value in decisive.items()):
        return None
    return digest_of(decisive)


def identity(settings: Mapping[str, str], data: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the identity of a run that this process trains; None if it has none.

    Args:
        settings: what `leaves` makes of its config.
        data: `Parts.described`.
    """
    config = settings_digest(settings)
    return {"config": config, **of_process(), "data": digest_of(data)} if config else None


def of_process() -> dict[str, str]:
    """Return the part of an identity that all runs of this process have; the platform has been started."""
    with _OF_PROCESS:  # else each of many lanes that begin at once would compute it
        return {"software": _software(), "numerics": digest_of(runtime.numerics())}


def digest_of(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def is_same_code(before: Mapping[str, str], trust: tuple[str, ...]) -> bool:
    """Tell whether the modules of user packages that a run has imported are as they were.

    Args:
        before: module -> SHA-256 of its source.
        trust: the user packages; one without a recorded module cannot be compared.
    """
    known = all(any(name == root or name.startswith(f"{root}.") for name in before) for root in trust)
    return known and all(_hash_of(name) == digest for name, digest in before.items())


def _names_file(key: str, value: str) -> bool:
    """Tell whether a value, as JSON, has the path of a file in it whose content no fingerprint covers."""
    if key.startswith("data.") and not key.startswith("data.preprocess"):
        return False
    return any(("/" in text or "." in text) and os.path.exists(os.path.expanduser(text)) for text in _texts(value))


def _texts(value: str) -> list[str]:
    found, left = [], [json.loads(value)]
    while left:
        match left.pop():
            case str(text):
                found.append(text)
            case list(items):
                left += items
            case dict(items):
                left += items.values()
    return found


def _hash_of(module: str) -> str:
    """Return the SHA-256 of the source of a module, "" if it is not found; parents of one are imported."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        if file is None and (spec := importlib.util.find_spec(module)):
            file = spec.origin
        return hashlib.sha256(Path(file or "").read_bytes()).hexdigest()
    except Exception:  # of the code of a package that is imported, too
        return ""


@functools.cache
def _software() -> str:
    return digest_of({**runtime.versions(), **{name: _version(name) for name in READERS}, "source": _source()})


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _source() -> dict[str, list[int]]:
    """Return size and time of change of dltrain's own files; none if it is installed: then its version tells."""
    top = Path(dltrain.__file__).resolve().parent
    if any(top.is_relative_to(Path(sysconfig.get_path(name)).resolve()) for name in ("purelib", "platlib")):
        return {}
    return {str(p.relative_to(top)): [(s := p.stat()).st_size, s.st_mtime_ns] for p in sorted(top.rglob("*.py"))}

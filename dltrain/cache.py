"""The folder for files that can be recreated: downloads and compiled programs."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return `$DLTRAIN_CACHE`, or the cache folder of the platform."""
    chosen = os.environ.get("DLTRAIN_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("dltrain"))

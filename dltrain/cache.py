"""Where files are kept that can be made or fetched again: downloads and compiled programs."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return `$DLTRAIN_CACHE`, else the platform's place for caches."""
    chosen = os.environ.get("DLTRAIN_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("dltrain"))

"""Where digsite keeps what it may fetch or make again: the cache folder of the user, on every system."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_dir() -> Path:
    """DIGSITE_CACHE, or the system's own place for caches (~/.cache/digsite on Linux, ~/Library/Caches on a Mac)."""
    chosen = os.environ.get("DIGSITE_CACHE")
    return Path(chosen) if chosen else user_cache_path("digsite", appauthor=False)

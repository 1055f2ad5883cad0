"""What is given from outside: the environment variables that digsite reads, its cache folder, the installed version.

Configs never come from here.
"""

import os
import re
from pathlib import Path

from digsite.base.errors import UsageError

MOST_THREADS = 4096
_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def _read_flag(name: str) -> bool:
    return os.environ.get(name, "").lower() not in ("", "0", "false", "no")


def whole_number(name: str, default: int, *, least: int = 0) -> int:
    """An environment variable that must be a whole number written in digits; `default` when it is not set."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not _WHOLE.fullmatch(text) or int(text) < least:
        raise UsageError(
            f"The environment variable {name} is {text[:40]!r}, but must be a whole number from {least} on.",
            hint=f"Unset it: unset {name}",
        )
    return int(text)


def count_threads() -> int:
    """OMP_NUM_THREADS, or one; of a list for nested levels (`4,2`) the first counts, as in OpenMP itself."""
    text = os.environ.get("OMP_NUM_THREADS", "").strip()
    first = text.partition(",")[0].strip()
    if not text:
        return 1
    if not _WHOLE.fullmatch(first) or not 1 <= int(first) <= MOST_THREADS:
        raise UsageError(
            f"The environment variable OMP_NUM_THREADS is {text[:40]!r}, but must be a number of threads from 1 to "
            f"{MOST_THREADS}.",
            hint="Set one thread per run: export OMP_NUM_THREADS=1",
        )
    return int(first)


def process_rank() -> int:
    """RANK: which of the processes that share a run this is; 0 alone."""
    return whole_number("RANK", 0)


def runs_dir() -> Path:
    """DIGSITE_HOME, or ./runs: visible, like everyone's `outputs/`."""
    return Path(os.environ.get("DIGSITE_HOME") or "runs")


def data_dir() -> Path | None:
    """DIGSITE_DATA: a folder that already holds the datasets."""
    chosen = os.environ.get("DIGSITE_DATA")
    return Path(chosen) if chosen else None


def data_mirror() -> str:
    """DIGSITE_MIRROR: the base address of a copy of the datasets, laid out like DIGSITE_DATA."""
    return os.environ.get("DIGSITE_MIRROR", "").rstrip("/")


def tracker_entity() -> str:
    """WANDB_ENTITY: the user or team at W&B, as its own client reads it; empty when not said."""
    return os.environ.get("WANDB_ENTITY", "")


def is_offline() -> bool:
    return _read_flag("DIGSITE_OFFLINE")


def default_device() -> str:
    """DIGSITE_DEVICE: cpu, cuda, cuda:1, or auto."""
    return os.environ.get("DIGSITE_DEVICE") or "auto"


def go_offline() -> None:
    """Tell the libraries of the field too, before they are imported: each has its own switch."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[name] = "1"
    os.environ["WANDB_MODE"] = "offline"


def cache_dir() -> Path:
    """Where digsite keeps what it may fetch or make again: DIGSITE_CACHE, or the system's own place for caches
    (~/.cache/digsite on Linux, ~/Library/Caches on a Mac).
    """
    from platformdirs import user_cache_path

    chosen = os.environ.get("DIGSITE_CACHE")
    return Path(chosen) if chosen else user_cache_path("digsite", appauthor=False)


def read_version() -> str:
    """Of what is installed: the build reads it from the tags of git, so no file names it.

    A function and no constant: `importlib.metadata` costs as much as all that `digsite --help` needs beside it.
    """
    from importlib import metadata

    try:
        return metadata.version("digsite")
    except metadata.PackageNotFoundError:  # the source tree alone, on a path
        return "0+unknown"

"""Where a result came from: code, packages, machine, command line, parent run."""

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from digsite.base import atomic, settings, stored

PACKAGES = ("digsite", "torch", "numpy", "scipy", "scikit-learn", "pandas", "safetensors", "pydantic")
DIFF_LIMIT = 200_000
SNAPSHOT = "git.json"  # lies beside a copied package


def collect_provenance(*, device: str, parent: str | None = None) -> dict[str, Any]:
    """Everything about this moment that the config does not say."""
    return {
        "schema": 1,
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "threads": settings.count_threads(),
        "instructions": vector_instructions(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "git": _git_of(Path(__file__).parents[1]),
        "parent": parent,
    }


@cache
def vector_instructions() -> str:
    """The widest vector instructions of this processor: sums are added up in another order with others.

    Results agree in every byte between machines of one kind with one number of threads. Two threads move a toy
    decomposition by about 3e-7, other instructions by about 5e-6.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return platform.machine()
    flags = set(
        next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    )
    return next(
        (name for name in ("avx512f", "avx2", "avx", "asimd", "sse4_2") if name in flags), platform.machine()
    )


@cache
def package_version(name: str) -> str | None:
    """None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache  # a warm worker executes many runs of the same code
def _git_of(folder: Path) -> dict[str, Any] | None:
    """The record of the checkout, or the one that travels with a sweep's copy of the code."""
    carried = atomic.read_json_or(folder.parent / SNAPSHOT, {})
    return carried.get(folder.name) if carried else git_record(folder)


def git_record(folder: Path) -> dict[str, Any] | None:
    """Commit and uncommitted diff of a package, when it lies in a checkout."""
    commit, diff = ask_git(folder, "rev-parse", "HEAD"), ask_git(folder, "diff", "HEAD", "--", ".")
    if commit is None or diff is None:
        return None
    return {"commit": commit.strip(), "diff": diff[:DIFF_LIMIT], "diff_cut": len(diff) > DIFF_LIMIT}


def ask_git(folder: Path, *words: str) -> str | None:
    """What git answers about a folder; None without git, a checkout or a commit."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


_SHOWN = {
    "command": list,
    "python": str,
    "platform": str,
    "device": str,
    "packages": dict,
    "git": dict,
    "parent": str,
}


def read_provenance(path: Path) -> dict[str, Any] | stored.Damaged | None:
    """Where a stored result came from; a value of another type than digsite writes is left out."""
    raw = stored.read_json(path, kind=dict)
    if not isinstance(raw, dict):
        return raw
    return {key: value for key, value in raw.items() if isinstance(value, _SHOWN.get(key, object))}

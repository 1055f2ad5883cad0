"""Where a result came from: code, packages, machine, command line, parent run."""

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from digsite.base import atomic

PACKAGES = ("digsite", "torch", "numpy", "scipy", "scikit-learn", "pandas", "safetensors", "pydantic")
DIFF_LIMIT = 200_000
SNAPSHOT = "git.json"  # lies beside a copied package


def collect(*, device: str, parent: str | None = None) -> dict[str, Any]:
    return {
        "schema": 1,
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(Path(__file__).parents[1]),
        "parent": parent,
    }


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache  # a warm worker executes many runs of the same code
def _git(folder: Path) -> dict[str, Any] | None:
    """The record of the checkout, or the one that travels with a sweep's copy of the code."""
    carried = atomic.read_json(folder.parent / SNAPSHOT)
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
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None

"""Where a result came from: code, packages, machine, command line, parent run."""

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("digsite", "torch", "numpy", "scipy", "scikit-learn", "pandas", "safetensors", "pydantic")
DIFF_LIMIT = 200_000


def collect(*, device: str, parent: str | None = None) -> dict[str, Any]:
    return {
        "schema": 1,
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(Path(__file__).parent),
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
    """Commit and uncommitted diff of the code that runs, when it runs from a checkout."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True
        ).stdout

    try:
        diff = ask("diff", "HEAD", "--", str(folder.parent))
        return {
            "commit": ask("rev-parse", "HEAD").strip(),
            "diff": diff[:DIFF_LIMIT],
            "diff_cut": len(diff) > DIFF_LIMIT,
        }
    except (OSError, subprocess.SubprocessError):
        return None

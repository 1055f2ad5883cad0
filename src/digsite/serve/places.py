"""From names in an address to files: nothing outside of the runs folder, nothing hidden, no links."""

import stat
from pathlib import Path

from starlette.exceptions import HTTPException

from digsite.record.layout import RunDir


def inside(root: Path, relative: str) -> Path:
    """The plain file or folder at `relative`, or 404; each step of the way is looked at."""
    path = root
    for part in relative.split("/"):
        if not _harmless(part):
            raise HTTPException(404)
        path = path / part
        try:
            mode = path.lstat().st_mode
        except (OSError, ValueError):
            raise HTTPException(404) from None
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # links, devices, pipes
            raise HTTPException(404)
    return path


def _harmless(part: str) -> bool:
    return bool(part) and not part.startswith(".") and not set(part) & {"\\", "\0"}


def run(root: Path, study: str, run_id: str) -> RunDir:
    if "/" in study or "/" in run_id:
        raise HTTPException(404)
    inside(root, f"{study}/{run_id}/launch.yaml")
    return RunDir(root / study / run_id)


def file(root: Path, relative: str) -> Path:
    path = inside(root, relative)
    if not path.is_file():
        raise HTTPException(404)
    return path

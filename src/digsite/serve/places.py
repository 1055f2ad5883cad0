"""From names in an address to files: nothing outside of the runs folder, nothing hidden, no links."""

import stat
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from digsite.record.layout import RunDir


def find_inside(root: Path, relative: str) -> Path:
    """The plain file or folder at `relative`, or 404; each step of the way is looked at."""
    path = root
    for part in relative.split("/"):
        if not _is_harmless(part):
            raise HTTPException(404)
        path = path / part
        try:
            mode = path.lstat().st_mode
        except (OSError, ValueError):
            raise HTTPException(404) from None
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):  # links, devices, pipes
            raise HTTPException(404)
    return path


def _is_harmless(part: str) -> bool:
    return bool(part) and not part.startswith(".") and not set(part) & {"\\", "\0"}


def find_run_folder(root: Path, study: str, run_id: str) -> RunDir:
    if "/" in study or "/" in run_id:
        raise HTTPException(404)
    find_inside(root, f"{study}/{run_id}/launch.yaml")
    return RunDir(root / study / run_id)


def find_file(root: Path, relative: str) -> Path:
    path = find_inside(root, relative)
    if not path.is_file():
        raise HTTPException(404)
    return path


# Numbers in addresses and in views.json: read strictly and within bounds, because anybody may have written them.

MOST = 10**9


def read_whole(text: Any, default: int = 0, *, most: int = MOST) -> int:
    """A whole number from 0 to `most` in plain digits, or `default` for anything else."""
    said = str(text)
    if not (said.isascii() and said.isdigit() and len(said) <= 13):
        return default
    return min(int(said), most)


def read_wholes(text: str, *, below: int, limit: int = 1000) -> list[int]:
    """The whole numbers below `below` in a list with commas, at most `limit` of them; other words are passed over."""
    numbers = (read_whole(word, -1) for word in text.split(",", limit)[:limit])
    return [number for number in numbers if 0 <= number < below]

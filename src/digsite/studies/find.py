"""Find studies and build their configs; nothing here needs torch until a config is validated."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from digsite.base import atomic
from digsite.base.errors import NotFound, UsageError, nearest
from digsite.config import yamlio
from digsite.config.aliases import current_method, current_study
from digsite.config.resolve import Layers

Size = Literal["full", "quick", "smoke", "demo"]
ROOT = Path(__file__).parent
ENTRY_POINTS = "digsite.studies"
_KEYS = {"method", "purpose", "minutes", "config", "quick", "smoke", "packs", "demo", "needs"}


@dataclass(frozen=True)
class Study:
    """One folder: what to run, which question it answers, and smaller versions of it."""

    name: str
    room: str
    folder: Path
    method: str
    purpose: str
    minutes: float
    config: dict[str, Any]
    quick: dict[str, Any]
    smoke: dict[str, Any]
    packs: tuple[str, ...] = ()  # settings that one ensemble run can vary among its members
    needs: tuple[str, ...] = ()  # folders of DIGSITE_DATA without which the study cannot run
    demo: dict[str, Any] | None = None  # overrides for `digsite demo`, when the study is part of it

    def layers(self, size: Size, start: Layers) -> Layers:
        """`start` with the study's config, and with what its `size` overrides."""
        if size not in get_args(Size):
            raise UsageError(f"There is no size '{size}' of a study. {nearest(size, get_args(Size))}")
        layers = start.add(self.config, "study.yaml")
        return layers if size == "full" else layers.add(getattr(self, size) or {}, f"study.yaml ({size})")

    @property
    def expected(self) -> dict[str, Any]:
        """`claims` of the full study, and of smaller sizes (`quick`, `smoke`, `demo`) where these were measured."""
        return atomic.read_json(self.folder / "expected.json", default={})

    def expected_of(self, size: str) -> dict[str, Any]:
        """The rules of one size, by claim; a size without its own is held to those of the full study."""
        own = self.expected.get(size)
        return own if own else self.expected.get("claims", {}) if size != "smoke" else {}


def load_study(folder: Path) -> Study:
    stored = yamlio.load(folder / "study.yaml")
    if unknown := stored.keys() - _KEYS:
        key = sorted(unknown)[0]
        raise UsageError(f"Unknown key '{key}' in '{folder / 'study.yaml'}'. {nearest(key, _KEYS)}")
    if missing := {"method", "purpose", "minutes"} - stored.keys():
        raise UsageError(f"'{folder / 'study.yaml'}' lacks {', '.join(sorted(missing))}.")
    return Study(
        name=folder.name,
        room=current_method(stored["method"]).partition(".")[0],
        folder=folder,
        method=stored["method"],
        purpose=stored["purpose"],
        minutes=float(stored["minutes"]),
        config=stored.get("config") or {},
        quick=stored.get("quick") or {},
        smoke=stored.get("smoke") or {},
        packs=tuple(stored.get("packs") or ()),
        needs=tuple(stored.get("needs") or ()),
        demo=(stored["demo"] or {}) if "demo" in stored else None,
    )


def all_studies(extra: Sequence[Path] = ()) -> dict[str, Study]:
    """Every study by name; a name in an extra folder wins, so that a user can vary a shipped one."""
    roots = (ROOT, *map(Path, _entry_point_folders()), *extra)
    return {folder.name: load_study(folder) for root in roots for folder in _study_folders(root)}


def _study_folders(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise NotFound(f"There is no studies folder '{root}'.")
    for path, folders, files in os.walk(root):
        folders.sort()
        if "study.yaml" in files:
            folders.clear()
            yield Path(path)


@cache
def _entry_point_folders() -> tuple[str, ...]:
    """Each entry point names a package whose folder holds studies."""
    return tuple(
        str(Path(point.load().__file__).parent) for point in metadata.entry_points(group=ENTRY_POINTS)
    )


def find_study(name: str, extra: Sequence[Path] = ()) -> Study:
    known = all_studies(extra)
    name = name if name in known else current_study(name)
    if name not in known:
        raise NotFound(f"There is no study '{name}'. {nearest(name, known)}", hint="List them: digsite list")
    return known[name]

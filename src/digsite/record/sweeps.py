"""A sweep as a folder: `runs/.sweeps/NAME/plan.jsonl` lists run directories; their states are read from them."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from digsite.base import jsonl
from digsite.base.errors import NotFound, nearest
from digsite.record.layout import RunDir
from digsite.record.status import Status

FOLDER = ".sweeps"


@dataclass(frozen=True)
class Member:
    """One row of the plan with its run directory."""

    run: RunDir
    study: str
    point: dict[str, Any]
    pack: str | None
    minutes: float

    def status(self) -> Status:
        return self.run.status()


@dataclass(frozen=True)
class Sweep:
    """All runs of a plan, or the part of them that is named."""

    folder: Path
    only: frozenset[str] = frozenset()  # run ids

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def root(self) -> Path:
        return self.folder.parent.parent

    @cached_property
    def members(self) -> list[Member]:
        rows = jsonl.read(self.folder / "plan.jsonl")
        return [
            Member(RunDir(self.root / row["run"]), row["study"], row["point"], row["pack"], row["minutes"])
            for row in rows
            if not self.only or row["run"].rpartition("/")[2] in self.only
        ]

    def counts(self) -> Counter[str]:
        return Counter(member.status().shown_state for member in self.members)

    def varied(self) -> list[str]:
        """The settings that differ between members, in the order in which they were given."""
        paths = dict.fromkeys(path for member in self.members for path in member.point)
        return [p for p in paths if len({repr(m.point.get(p)) for m in self.members}) > 1]


def find_sweep(name: str, root: Path) -> Sweep:
    known = sweeps_in(root)
    matches = [s for s in known if s.name == name] or [s for s in known if s.name.startswith(name)]
    if name == "last" and known:
        return max(known, key=lambda s: (s.folder / "plan.jsonl").stat().st_mtime)
    if len(matches) != 1:
        raise NotFound(
            f"There is no sweep '{name}' in '{root}'. {nearest(name, [s.name for s in known])}".strip()
        )
    return matches[0]


def sweeps_in(root: Path) -> list[Sweep]:
    return [Sweep(path.parent) for path in sorted((root / FOLDER).glob("*/plan.jsonl"))]

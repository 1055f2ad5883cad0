"""A sweep as a folder: `runs/.sweeps/NAME/plan.jsonl` lists run directories; their states are read from them."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from digsite.base import jsonl, stored
from digsite.base.errors import NotFound, name_nearest
from digsite.base.stored import finite_number
from digsite.record.layout import RunDir
from digsite.record.status import Status

FOLDER = ".sweeps"


@dataclass(frozen=True)
class SweepRow:
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
    def members(self) -> list[SweepRow]:
        """The rows of the plan that can be believed; `damaged` counts the others."""
        rows = (_read_member(self.root, row) for row in self._rows)
        return [m for m in rows if m is not None and (not self.only or m.run.id in self.only)]

    @property
    def damaged(self) -> int:
        """Lines of the plan from which no run can be told: such a sweep is never complete."""
        return sum(_read_member(self.root, row) is None for row in self._rows)

    @cached_property
    def _rows(self) -> list[Any]:
        return [stored.parse_json(line) for line in jsonl.raw_lines(self.folder / "plan.jsonl")]

    def left(self) -> int:
        """How many runs have not finished, damaged lines of the plan counted."""
        return self.damaged + sum(n for state, n in self.counts().items() if state != "finished")

    def counts(self) -> Counter[str]:
        return Counter(member.status().shown_state for member in self.members)

    def varied_paths(self) -> list[str]:
        """The settings that differ between members, in the order in which they were given."""
        paths = dict.fromkeys(path for member in self.members for path in member.point)
        return [p for p in paths if len({repr(m.point.get(p)) for m in self.members}) > 1]


def _read_member(root: Path, row: Any) -> SweepRow | None:
    """One line of the plan, when it names a run below the runs folder."""
    if not isinstance(row, dict):
        return None
    folder, study, point, pack = (row.get(key) for key in ("run", "study", "point", "pack"))
    if not isinstance(folder, str) or not isinstance(study, str) or not isinstance(point, dict):
        return None
    parts = folder.split("/")
    if len(parts) != 2 or any(not part or part.startswith(".") or "\0" in part for part in parts):
        return None
    minutes = finite_number(row.get("minutes")) or 0.0
    return SweepRow(
        RunDir(root / folder), study, point, pack if isinstance(pack, str) else None, float(minutes)
    )


def find_sweep(name: str, root: Path) -> Sweep:
    known = sweeps_in(root)
    matches = [s for s in known if s.name == name] or [s for s in known if s.name.startswith(name)]
    if name == "last" and known:
        return max(known, key=_planned_at)
    if len(matches) != 1:
        raise NotFound(
            f"There is no sweep '{name}' in '{root}'. {name_nearest(name, [s.name for s in known])}".strip()
        )
    return matches[0]


def sweeps_in(root: Path) -> list[Sweep]:
    return [Sweep(path.parent) for path in sorted((root / FOLDER).glob("*/plan.jsonl")) if path.is_file()]


def _planned_at(sweep: Sweep) -> float:
    try:
        return (sweep.folder / "plan.jsonl").stat().st_mtime
    except OSError:  # removed since it was listed
        return 0.0

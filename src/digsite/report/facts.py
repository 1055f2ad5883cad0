"""Everything a page says about one run, read from its directory; a broken file costs its own section only."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digsite.base.errors import DigsiteError
from digsite.config.overrides import paths
from digsite.record.layout import RunDir
from digsite.record.results import Claim, Results, leading, read_results
from digsite.record.shown import files
from digsite.record.status import Status
from digsite.report.pictures import Picture, pictures


@dataclass(frozen=True)
class Table:
    """The head of one CSV file."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int


@dataclass(frozen=True)
class Facts:
    run: RunDir
    status: Status
    state: str
    study: str
    method: str
    size: str
    purpose: str
    tags: tuple[str, ...]
    config: dict[str, Any]  # by dotted path
    verdict: str
    claims: tuple[Claim, ...]
    provenance: dict[str, Any]
    error: dict[str, Any]
    pictures: tuple[Picture, ...]
    tables: tuple[str, ...]
    headline: tuple[str, ...] = ()  # ids of the claims that the answer leads with
    hero: str = ""  # the figure that shows it

    @property
    def leading(self) -> tuple[Claim, ...]:
        return leading(self.claims, self.headline)

    @property
    def others(self) -> tuple[Claim, ...]:
        """Claims beside the headline."""
        shown = {claim.name for claim in self.leading}
        return tuple(c for c in self.claims if not c.is_measurement and c.name not in shown)

    @property
    def measurements(self) -> tuple[Claim, ...]:
        shown = {claim.name for claim in self.leading}
        return tuple(c for c in self.claims if c.is_measurement and c.name not in shown)

    @property
    def hero_picture(self) -> Picture | None:
        """The named figure; of a run that names none, the first drawn."""
        named = [picture for picture in self.pictures if picture.name == self.hero]
        return (named or [*self.pictures, None])[0]

    @property
    def id(self) -> str:
        return self.run.id

    @property
    def name(self) -> str:
        """Unique within a runs folder."""
        return f"{self.study}/{self.id}"

    @property
    def seconds(self) -> float | None:
        status = self.status
        end = status.ended or status.heartbeat
        return end - status.started if status.started and end else None


def gather(run: RunDir) -> Facts:
    launch, status, results = _launch(run), run.status(), results_of(run)
    return Facts(
        run=run,
        status=status,
        state=status.shown_state,
        study=str(launch.get("study") or status.study or run.path.parent.name),
        method=str(launch.get("method", "")),
        size=str(launch.get("size", "full")),
        purpose=str(launch.get("purpose", "")),
        tags=tuple(map(str, launch.get("tags") or ())),
        config=paths(launch.get("config") or {}) if launch.get("config") else {},
        verdict=results.verdict if results else "",
        claims=results.claims if results else (),
        provenance=_json(run.provenance),
        error=_json(run.error),
        pictures=pictures(run.figures),
        tables=table_names(run.tables),
        headline=results.headline if results else (),
        hero=results.hero if results else "",
    )


def table_names(folder: Path) -> tuple[str, ...]:
    """Names below `tables/`, without the ending."""
    if not folder.is_dir() or folder.is_symlink():
        return ()
    found = (path for path in files(folder) if path.suffix == ".csv")
    return tuple(sorted(path.relative_to(folder).with_suffix("").as_posix() for path in found))


def read_table(folder: Path, name: str, *, start: int = 0, limit: int = 12) -> Table:
    """A window of the rows; the file is streamed, so a table of a million lines is fine."""
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.reader(file)
        columns, kept, total = tuple(next(reader, ())), [], 0
        for line in reader:
            if start <= total < start + limit:
                kept.append(tuple(line))
            total += 1
    return Table(name, columns, tuple(kept), total)


def _launch(run: RunDir) -> dict[str, Any]:
    try:
        return run.plan()
    except (DigsiteError, OSError, UnicodeDecodeError):
        return {}


def results_of(run: RunDir) -> Results | None:
    """The claims, or nothing when the file is broken."""
    try:
        return None if run.results.is_symlink() else read_results(run.results)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = {} if path.is_symlink() else json.loads(path.read_bytes())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return value if isinstance(value, dict) else {}

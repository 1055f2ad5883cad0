"""Copy a run's journal, figures, tables and claims to a tracker: live while it runs, or all at once later."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dotenv import load_dotenv

from digsite.base import atomic, families, jsonl
from digsite.base.errors import MissingExtra, UsageError, name_nearest
from digsite.base.stored import finite_number
from digsite.config.overrides import leaf_paths
from digsite.record.layout import RunDir
from digsite.record.marks import read_marks
from digsite.record.results import Claim, Results
from digsite.record.shown import read_claims

FAMILY = "digsite.mirrors"
COLUMNS = ("claim", "value", "low", "high", "null", "n", "unit", "title")


class Mirror(ABC):
    """One run at one tracker; a class of this folder that has this one as its base is a tracker by its own name.

    `NEEDS`: the tracker's package and the extra that brings it; `project`: the project or experiment to write to.
    """

    NEEDS: tuple[str, str] = ("", "")

    @abstractmethod
    def __init__(self, run: RunDir, project: str) -> None: ...

    @abstractmethod
    def log_values(self, step: int, values: Mapping[str, float]) -> None:
        """One line of the journal."""

    @abstractmethod
    def add_figure(self, name: str, path: Path) -> None: ...

    @abstractmethod
    def add_table(self, name: str, path: Path) -> None:
        """A CSV file with a head."""

    @abstractmethod
    def add_claims(self, results: Results) -> None:
        """Every claim with its interval and its null: as numbers to sort by (`claim_numbers`), and as one table."""

    @abstractmethod
    def add_answer(self, question: str, verdict: str, hero: Path | None) -> None:
        """What the tracker shows first of a run."""

    @abstractmethod
    def close_run(self, failed: bool) -> None: ...

    @abstractmethod
    def say_where(self) -> str:
        """The address or folder at which a person finds the copy."""


def list_trackers() -> list[str]:
    """Trackers by name, without importing any."""
    return families.list_members(FAMILY)


def refuse_tracker(kind: str) -> None:
    """Before a run starts: a tracker that is unknown or not installed would copy nothing and say nothing.

    `kind` is what follows `--mirror`.
    """
    if kind not in list_trackers():
        raise UsageError(f"There is no mirror '{kind}'. {name_nearest(kind, list_trackers())}")
    package, extra = families.scan_member(FAMILY, kind).NEEDS
    if package and find_spec(package) is None:
        raise MissingExtra(
            f"The mirror '{kind}' needs the package '{package}', which is not installed.",
            hint=f"Install it: pip install 'digsite[{extra}]'",
        )


def follow_run(
    run: RunDir, kind: str, *, project: str = "digsite", live: bool = False, pause_s: float = 2.0
) -> str:
    """Copy everything and say where it went; with `live`, go on until the run has ended.

    Copying again goes on where it stopped: the mark beside the run is the length of the journal that was copied.

    `kind` is the tracker, `project` the name there, `pause_s` how long to wait between two looks.
    """
    refuse_tracker(kind)
    _load_credentials(Path(".env"))
    mark = run.path / f".mirror-{kind}.json"
    stored = finite_number(atomic.read_json_or(mark, {}).get("offset", 0))
    offset = int(stored) if stored is not None and stored >= 0 else 0
    mirror: Mirror = families.scan_member(FAMILY, kind)(run, project)
    while True:
        ended = run.status().shown_state not in ("planned", "running")
        offset = _copy_journal(run, mirror, offset)
        atomic.write_json(mark, {"offset": offset})
        if ended or not live:
            break
        time.sleep(pause_s)
    _copy_files(run, mirror)
    mirror.close_run(failed=run.status().shown_state in ("failed", "killed"))
    return mirror.say_where()


def _load_credentials(path: Path) -> None:
    """What a tracker's account needs may stand in `.env`; what is in the environment already wins."""
    try:
        load_dotenv(path)
    except (OSError, ValueError) as error:  # not text, or not readable
        raise UsageError(f"The file '{path}' cannot be read: {error}.") from None


def _copy_journal(run: RunDir, mirror: Mirror, offset: int) -> int:
    """A resumed run cuts its journal back: then the copy starts again from there."""
    size = jsonl.whole_size(run.journal)
    for record in jsonl.read_records(run.journal, offset=min(offset, size)):
        step = finite_number(record.pop("step", 0))
        record.pop("time", None)
        numbers = {k: v for k, v in record.items() if finite_number(v) is not None}
        if numbers and step is not None:
            mirror.log_values(step, numbers)  # pyright: ignore[reportArgumentType]
    return size


def _copy_files(run: RunDir, mirror: Mirror) -> None:
    for path in sorted(run.figures.rglob("*.png")):
        mirror.add_figure(str(path.relative_to(run.figures).with_suffix("")), path)
    for path in sorted(run.tables.rglob("*.csv")):
        mirror.add_table(str(path.relative_to(run.tables).with_suffix("")), path)
    results = read_claims(run)
    if isinstance(results, Results):
        mirror.add_claims(results)
        hero = run.figures / f"{results.hero}.png"
        question = str(run.plan().get("purpose", ""))
        mirror.add_answer(question, results.verdict, hero if results.hero and hero.is_file() else None)


def claim_numbers(results: Results) -> dict[str, float]:
    """Headline, other claims and measurements as flat keys, each with the ends of its interval and its null beside it."""
    led = {claim.name for claim in results.leading}
    flat: dict[str, float | None] = {}
    for claim in results.claims:
        where = "headline" if claim.name in led else "measurements" if claim.is_measurement else "claims"
        flat[f"{where}/{claim.name}"] = claim.value
        flat |= {f"{where}/{claim.name}/{end}": getattr(claim, end) for end in ("low", "high", "null")}
    return {key: value for key, value in flat.items() if value is not None}


def claim_rows(results: Results) -> list[list[Any]]:
    """The claims as rows under `COLUMNS`, those that the answer leads with first."""

    def as_row(claim: Claim) -> list[Any]:
        return [claim.name, claim.value, claim.low, claim.high, claim.null, claim.n, claim.unit, claim.title]

    others = [claim for claim in results.claims if claim not in results.leading]
    return [as_row(claim) for claim in (*results.leading, *others)]


def settings_of(run: RunDir) -> dict[str, Any]:
    """The config as flat keys, with what identifies the run."""
    launch = run.plan()
    return {"study": launch["study"], "method": launch["method"], **leaf_paths(launch["config"])}


def tags_of(run: RunDir) -> list[str]:
    """The words that a run was given to be found by, when it was started or after the fact, and its study."""
    launch, marks = run.plan(), read_marks(run)
    words = [str(launch["study"]), *map(str, launch.get("tags") or ()), *marks.tags]
    return list(dict.fromkeys([*words, *(["starred"] if marks.star else [])]))

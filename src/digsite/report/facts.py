"""Everything a page says about one run, read from its directory; a broken file costs its own section only."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from digsite.base import stored
from digsite.base.jsonl import MAX_LINE
from digsite.base.stored import Damaged
from digsite.config.overrides import leaf_paths
from digsite.record.layout import RunDir
from digsite.record.provenance import read_provenance
from digsite.record.results import Claim, Results, leading_claims
from digsite.record.shown import list_files
from digsite.record.shown import read_claims as shown_results
from digsite.record.status import Status
from digsite.report.numbers import show_moment
from digsite.report.pictures import Picture, find_pictures

COLUMNS = 1000  # of a table are shown


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
    caution: str = ""  # what a record of a newer version may hold beyond what is read
    damaged: tuple[str, ...] = ()  # records of which nothing could be read, and why
    headline: tuple[str, ...] = ()  # ids of the claims that the answer leads with
    hero: str = ""  # the figure that shows it
    given: tuple[str, ...] = ()  # settings that somebody set for this run, by dotted path

    @property
    def leading(self) -> tuple[Claim, ...]:
        return leading_claims(self.claims, self.headline)

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
    def citation(self) -> str:
        """The run as a BibTeX entry: what it asked, which code answered, and when."""
        git = self.provenance.get("git")
        commit = str(git.get("commit", ""))[:12] if isinstance(git, dict) else ""
        packages = self.provenance.get("packages")
        version = packages.get("digsite") if isinstance(packages, dict) else None
        made = [f"digsite {version}" if version else "digsite", f"study {self.study}", f"run {self.id}"]
        made += [f"commit {commit}"] if commit else []
        year = show_moment(self.status.started or self.status.created)[:4]
        lines = {"title": self.purpose or self.study, "howpublished": ", ".join(made), "year": year}
        fields = "".join(f"  {key} = {{{_plain_bibtex(text)}}},\n" for key, text in lines.items())
        return f"@misc{{digsite-{self.study}-{self.id},\n{fields}}}"

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


def gather_facts(run: RunDir) -> Facts:
    """Everything about one run; of a damaged record the rest is told, and that it is damaged."""
    asked, status, results = run.read_asked(), run.status(), shown_results(run)
    origin, error = read_provenance(run.provenance), stored.read_json(run.error, kind=dict)
    records = {"launch.yaml": asked, "results.json": results, "provenance.json": origin, "error.json": error}
    damaged = [f"{name}: {record.reason}" for name, record in records.items() if isinstance(record, Damaged)]
    launch = {} if isinstance(asked, Damaged) else asked
    record = None if isinstance(results, Damaged) else results
    return Facts(
        run=run,
        status=status,
        state="damaged" if isinstance(asked, Damaged) else status.shown_state,
        study=str(launch.get("study") or status.study or run.path.parent.name),
        method=str(launch.get("method", "")),
        size=str(launch.get("size", "full")),
        purpose=str(launch.get("purpose", "")),
        tags=tuple(map(str, launch.get("tags") or ())),
        config=leaf_paths(launch.get("config") or {}) if launch.get("config") else {},
        verdict=record.verdict if record else "",
        claims=record.claims if record else (),
        provenance=origin if isinstance(origin, dict) else {},
        error=error if isinstance(error, dict) else {},
        pictures=find_pictures(run.figures),
        tables=table_names(run.tables),
        caution=record.caution if record else "",
        damaged=(*damaged, *([status.message] if status.state == "damaged" else [])),
        headline=record.headline if record else (),
        hero=record.hero if record else "",
        given=_given_paths(launch, origin),
    )


def _given_paths(launch: dict[str, Any], origin: Any) -> tuple[str, ...]:
    """What was set by hand: as the run tells, or, of an older run, what its command line sets."""
    if isinstance(given := launch.get("given"), list):
        return tuple(path for path in given if isinstance(path, str))
    command = origin.get("command") if isinstance(origin, dict) else None
    names = {word.partition("=")[0] for word in map(str, command or ()) if "=" in word}
    paths = leaf_paths(launch.get("config") or {}) if names else {}
    return tuple(path for path in paths if any(path == n or path.endswith(f".{n}") for n in names))


def _plain_bibtex(text: str) -> str:
    """Text in which nothing ends an entry or commands TeX."""
    return "".join(f"\\{c}" if c in "%&#_$" else "" if c in "{}\\" else c for c in text)


def table_names(folder: Path) -> tuple[str, ...]:
    """Names below `tables/`, without the ending."""
    if not folder.is_dir() or folder.is_symlink():
        return ()
    tables = (path for path in list_files(folder) if path.suffix == ".csv")
    return tuple(sorted(path.relative_to(folder).with_suffix("").as_posix() for path in tables))


QUESTIONS = 40  # of one run


def read_questions(facts: Facts) -> tuple[dict[str, str], ...]:
    """What a run was asked, question by question: its table `questions`, if each row holds a question and its answer."""
    if "questions" not in facts.tables:
        return ()
    table = read_table(facts.run.tables, "questions", limit=QUESTIONS)
    keys = ("question", "answer", "beside", "unanswered", "next")
    if not {"question", "answer"} <= set(table.columns):
        return ()
    rows = (dict(zip(table.columns, line)) for line in table.rows)
    return tuple({key: row.get(key, "") for key in keys} for row in rows)


def read_table(folder: Path, name: str, *, start: int = 0, limit: int = 12) -> Table:
    """A window of the rows; the file is streamed, so a table of a million lines is fine."""
    columns: tuple[str, ...] = ()
    kept, total = [], 0
    try:
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.reader(_without_nulls(file))
            columns = tuple(next(reader, ()))[:COLUMNS]
            for line in reader:
                if start <= total < start + limit:
                    kept.append(tuple(line[:COLUMNS]))
                total += 1
    except (OSError, csv.Error):  # gone since it was listed, or no table from there on
        pass
    return Table(name, columns, tuple(kept), total)


def _without_nulls(file: IO[str]) -> Iterator[str]:
    """Lines of bounded length: a file without line ends is not held in memory as one line."""
    while line := file.readline(MAX_LINE):
        yield line.replace("\0", "")


def results_or_none(run: RunDir) -> Results | None:
    """The claims, or nothing when there are none or the file is damaged."""
    results = shown_results(run)
    return None if isinstance(results, Damaged) else results

"""From runs to one HTML file that needs nothing but a browser."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from digsite.base import atomic
from digsite.base.version import __version__
from digsite.record.layout import RunDir
from digsite.report import numbers
from digsite.report.aggregated import aggregated
from digsite.report.claims import rows
from digsite.report.comparison import SIDE_BY_SIDE, compare
from digsite.report.doubts import doubts
from digsite.report.facts import Facts, gather, read_table
from digsite.report.pictures import albums, embedded

HERE = Path(__file__).parent
LOOK = HERE / "assets" / "look.css"
BRIEF = 3  # figures shown in a notebook
TABLES = 12  # tables shown in a report; each with the head of its rows


def write(runs: list[RunDir], out: Path) -> None:
    """One file about one run, or about several beside each other."""
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(out, render(runs))


def render(runs: Sequence[RunDir]) -> str:
    assert runs, "a report needs a run"
    facts = [gather(run) for run in runs]
    if len(facts) == 1:
        return _single(facts[0])
    return _several(facts) if len({f.method for f in facts}) == 1 else _collection(facts)


def brief(run: RunDir) -> str:
    """The answer, its claims and the first figures: what a notebook shows."""
    facts = gather(run)
    return _fill(
        "brief.html", facts=facts, rows=rows(facts.claims), uris=embedded(list(facts.pictures[:BRIEF]))
    )


def environment(*more: Path) -> Environment:
    """Everything is escaped; a name that is not there is an error, not a blank."""
    env = Environment(
        loader=FileSystemLoader([*more, HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        number=numbers.number,
        duration=numbers.duration,
        moment=numbers.moment,
        setting=numbers.setting,
        size=numbers.size,
        claim_texts=numbers.claim_texts,
        cell=numbers.cell,
    )
    env.globals.update(version=__version__)
    return env


@cache
def _environment() -> Environment:
    return environment()


def _fill(template: str, **values: Any) -> str:
    look = Markup(LOOK.read_text())  # our own file
    return _environment().get_template(template).render(look=look, **values)


def _single(facts: Facts) -> str:
    tables = [read_table(facts.run.tables, name) for name in facts.tables[:TABLES]]
    loose, many = albums(facts.pictures)
    return _fill(
        "report.html",
        facts=facts,
        rows=rows(facts.claims),
        doubts=doubts(facts),
        loose=loose,
        albums=many,
        uris=embedded([*loose, *(picture for mine in many.values() for picture in mine)]),
        tables=tables,
    )


def _collection(facts: list[Facts]) -> str:
    """Different methods have no settings or claims to compare: one question after the other."""
    entries = [
        {"facts": f, "rows": rows(f.claims), "doubts": doubts(f), "uris": embedded(list(f.pictures[:BRIEF]))}
        for f in facts
    ]
    return _fill("collection.html", entries=entries)


def _several(facts: list[Facts]) -> str:
    compared = compare(facts)
    chosen = [p for shown in compared.pictures.values() for p in shown if p]
    return _fill(
        "comparison_report.html",
        compared=compared,
        aggregated=aggregated(compared) if len(compared.groups) < len(facts) or len(facts) > 2 else [],
        wide=len(facts) > SIDE_BY_SIDE,
        uris=embedded(chosen) if len(facts) <= SIDE_BY_SIDE else {},
        doubts={f.name: doubts(f) for f in facts[:SIDE_BY_SIDE]},
    )

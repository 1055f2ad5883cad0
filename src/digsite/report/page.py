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
from digsite.report.claims import common_axis, rows
from digsite.report.comparison import SIDE_BY_SIDE, compare
from digsite.report.doubts import doubts
from digsite.report.facts import Facts, gather, read_table
from digsite.report.glossary import explained_words
from digsite.report.pictures import Picture, albums, embedded

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
    return _fill("brief.html", facts=facts, **told(facts), uris=embedded(_hero_first(facts)[:BRIEF]))


def told(facts: Facts) -> dict[str, Any]:
    """What every page says of a run's claims: the headline on one axis, then the others, then measurements."""
    return {
        "leading": rows(facts.leading),
        "axis": common_axis(facts.leading),
        "others": rows(facts.others),
        "measurements": rows(facts.measurements),
        "hero": facts.hero_picture,
    }


def _hero_first(facts: Facts) -> list[Picture]:
    hero = facts.hero_picture
    return [*([hero] if hero else []), *(picture for picture in facts.pictures if picture != hero)]


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
    env.globals.update(version=__version__, words=explained_words())
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
        **told(facts),
        doubts=doubts(facts),
        loose=[picture for picture in loose if picture != facts.hero_picture],
        albums=many,
        uris=embedded(
            [*_hero_first(facts)[:1], *loose, *(picture for mine in many.values() for picture in mine)]
        ),
        tables=tables,
    )


def _collection(facts: list[Facts]) -> str:
    """Different methods have no settings or claims to compare: one question after the other."""
    entries = [
        {"facts": f, **told(f), "doubts": doubts(f), "uris": embedded(_hero_first(f)[:BRIEF])} for f in facts
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

"""From runs to one HTML file that needs nothing but a browser."""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from digsite.base import atomic
from digsite.base.settings import read_version
from digsite.record.journal import read_series
from digsite.record.layout import RunDir
from digsite.report import numbers
from digsite.report.aggregated import draw_aggregated
from digsite.report.claims import claim_rows, common_axis
from digsite.report.comparison import SIDE_BY_SIDE, compare_facts
from digsite.report.doubts import list_doubts
from digsite.report.facts import Facts, gather_facts, read_questions, read_table
from digsite.report.pictures import Picture, embed_pictures, group_albums
from digsite.report.plots import draw_curves, list_forests

HERE = Path(__file__).parent
GLOSSARY = HERE / "assets" / "glossary.md"  # the page that is also docs/glossary.md
ENTRY = re.compile(r"^\*\*(.+?)\*\*: (.+)$", re.M)


@cache
def explained_words() -> tuple[tuple[str, str], ...]:
    """Every word with its explanation, in the order of the page; marks of emphasis are taken out."""
    text = GLOSSARY.read_text(encoding="utf-8")
    return tuple((word, re.sub(r"[*`]", "", said)) for word, said in ENTRY.findall(text))


LOOK = HERE / "assets" / "look.css"
SCRIPT = (HERE / "assets" / "curves.js").read_text(encoding="utf-8")  # the only one that a report may run
SCRIPT_HASH = f"sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}"
BRIEF = 3  # figures shown in a notebook
TABLES = 12  # tables shown in a report; each with the head of its rows


def write_report(runs: list[RunDir], out: Path) -> None:
    """One file about one run, or about several beside each other.

    `runs` are run directories, `out` the file.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(out, render_report(runs))


def render_report(runs: Sequence[RunDir]) -> str:
    """The HTML of `runs`: one run in full, several of one method beside each other, others one after the other."""
    assert runs, "a report needs a run"
    facts = [gather_facts(run) for run in runs]
    if len(facts) == 1:
        return _render_single(facts[0])
    return _render_several(facts) if len({f.method for f in facts}) == 1 else _render_collection(facts)


def render_brief(run: RunDir) -> str:
    """The answer, its claims and the first figures: what a notebook shows."""
    facts = gather_facts(run)
    return fill_template(
        "brief.html", facts=facts, **template_values(facts), uris=embed_pictures(_hero_first(facts)[:BRIEF])
    )


def template_values(facts: Facts) -> dict[str, Any]:
    """What every page says of a run's claims: the headline on one axis, then the others, then measurements."""
    return {
        "leading": claim_rows(facts.leading),
        "axis": common_axis(facts.leading),
        "others": claim_rows(facts.others),
        "measurements": claim_rows(facts.measurements),
        "hero": facts.hero_picture,
        "questions": read_questions(facts),
    }


def _hero_first(facts: Facts) -> list[Picture]:
    hero = facts.hero_picture
    return [*([hero] if hero else []), *(picture for picture in facts.pictures if picture != hero)]


def make_environment(*more: Path) -> Environment:
    """Everything is escaped; a name that is not there is an error, not a blank."""
    env = Environment(
        loader=FileSystemLoader([*more, HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        number=numbers.show_number,
        duration=numbers.show_duration,
        moment=numbers.show_moment,
        iso=numbers.iso_moment,
        setting=numbers.show_setting,
        size=numbers.show_size,
        claim_texts=numbers.claim_texts,
        cell=numbers.show_cell,
        parted=numbers.break_name,
    )
    env.globals.update(version=read_version(), words=explained_words())
    return env


@cache
def _cached_environment() -> Environment:
    return make_environment()


def fill_template(template: str, **values: Any) -> str:
    """A page of ours, whole: its styles are inside, and every value is escaped.

    A page with curves carries our script, by whose digest its policy lets no other run.
    """
    own = {
        "look": Markup(LOOK.read_text()),
        "script": Markup(SCRIPT),
        "script_hash": SCRIPT_HASH,
    }  # our own files
    return (
        _cached_environment()
        .get_template(template)
        .render(**own, has_script=bool(values.get("measured")), **values)
    )


def _render_single(facts: Facts) -> str:
    tables = [read_table(facts.run.tables, name) for name in facts.tables[:TABLES]]
    loose, many = group_albums(facts.pictures)
    return fill_template(
        "report.html",
        facts=facts,
        **template_values(facts),
        doubts=list_doubts(facts),
        loose=[picture for picture in loose if picture != facts.hero_picture],
        albums=many,
        uris=embed_pictures(
            [*_hero_first(facts)[:1], *loose, *(picture for members in many.values() for picture in members)]
        ),
        tables=tables,
        measured=draw_curves(read_series(facts.run.journal)),
    )


def _render_collection(facts: list[Facts]) -> str:
    """Different methods have no settings or claims to compare: one question after the other."""
    entries = [
        {
            "facts": f,
            **template_values(f),
            "doubts": list_doubts(f),
            "uris": embed_pictures(_hero_first(f)[:BRIEF]),
        }
        for f in facts
    ]
    return fill_template("collection.html", entries=entries)


def _render_several(facts: list[Facts]) -> str:
    compared = compare_facts(facts)
    chosen = [p for shown in compared.pictures.values() for p in shown if p]
    return fill_template(
        "comparison_report.html",
        compared=compared,
        aggregated=draw_aggregated(compared) if len(compared.groups) < len(facts) or len(facts) > 2 else [],
        wide=len(facts) > SIDE_BY_SIDE,
        forests=list_forests(compared) if len(facts) <= SIDE_BY_SIDE else [],
        uris=embed_pictures(chosen) if len(facts) <= SIDE_BY_SIDE else {},
        doubts={f.name: list_doubts(f) for f in facts[:SIDE_BY_SIDE]},
    )

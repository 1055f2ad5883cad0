"""Tables and results on the terminal."""

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

import click

from digsite.base import atomic
from digsite.base.errors import DigsiteError
from digsite.base.stored import Damaged
from digsite.record.layout import RunDir
from digsite.record.results import Claim, Results
from digsite.record.shown import read_claims

LINES = (
    9  # question and headline: with what is left out, the run and its report twelve lines follow the verdict
)
NAME_WIDTH = (
    32  # of the first column is kept even where the terminal is narrow: names that break are hard to read
)


def print_json(value: Any) -> None:
    click.echo(atomic.dump_json(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table that fits the terminal; plain text when piped."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    longest = max((len(str(row[0])) for row in rows), default=0)
    for i, name in enumerate(columns):
        whole = i == 0 and longest <= NAME_WIDTH
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*[Text("" if cell is None else str(cell)) for cell in row])
    console = Console()
    if not console.is_terminal:  # a pipe has no width, and a folded table cannot be searched
        console = Console(width=200, markup=False, emoji=False)
    console.print(table)


def format_number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.4g}"


def format_interval(claim: Claim) -> str:
    return "" if claim.low is None else f"{format_number(claim.low)} to {format_number(claim.high)}"


def print_answer(results: Results, question: str = "") -> None:
    """The verdict first, then at most twelve lines with those of the run: the question and the headline."""
    width = max(60, min(shutil.get_terminal_size((80, 24)).columns, 100))
    asked = textwrap.wrap(question, width, max_lines=2, placeholder=" …") if question else []
    for line in [
        *textwrap.wrap(results.verdict, width),
        *asked,
        *headline_lines(results, width, LINES - len(asked)),
    ]:
        click.echo(line)


def headline_lines(results: Results, width: int, most: int) -> list[str]:
    """Each claim of the headline: title, value, interval, null. Long titles take a second line where `most` lines allow it.

    Where not, the middle of a title gives way: titles of one run often begin alike, and cut at the end they would read alike.
    """
    from digsite.report.numbers import claim_texts

    cells = []
    for claim in results.leading:
        value, ends, null = (text.replace("\u00a0", " ") for text in claim_texts(claim))
        if not ends and len(claim.points) > 1:
            ends = f"n = {len(claim.points)}"  # seeds, or batches of one seed
        cells.append(
            (claim.say_value, value, f"({ends})" if ends else "", f"null {null}" if null else "no null")
        )
    if not cells:
        return []
    a, b, c = (max(len(row[i]) for row in cells) for i in (1, 2, 3))
    left = max(20, width - a - b - c - 6) - 1
    titles = [textwrap.wrap(row[0], left, max_lines=3, placeholder="…") or [""] for row in cells]
    while sum(map(len, titles)) > most and max(map(len, titles)) > 1:  # the one that loses least gives way
        least = min((len(cells[i][0]), i) for i, lines in enumerate(titles) if len(lines) > 1)[1]
        titles[least] = [_without_middle(cells[least][0], left)]
    return [
        text.rstrip()
        for (_, value, ends, null), (first, *more) in zip(cells, titles, strict=True)
        for text in (
            f"  {first:<{left}} {value:>{a}} {ends:<{b}} {null:<{c}}",
            *(f"    {rest}" for rest in more),
        )
    ]


def _without_middle(title: str, wide: int) -> str:
    """At most `wide` characters, with both ends of the title."""
    if len(title) <= wide:
        return title
    head = (wide - 1) // 2
    return f"{title[:head].rstrip()}…{title[len(title) - (wide - 1 - head) :].lstrip()}"


def print_results(results: Results) -> None:
    """Every claim, then every measurement, as tables."""
    claims = [claim for claim in results.claims if not claim.is_measurement]
    for what, chosen in (("claim", claims), ("measurement", results.measurements)):
        rows = [
            [
                c.name,
                f"{format_number(c.value)} {c.unit}".strip(),
                format_interval(c),
                c.n,
                format_number(c.null),
                c.title or c.note,
            ]
            for c in chosen
        ]
        if rows:
            columns = [what, "value", "interval", "n", "null", "what"]
            print_table(columns, rows, right=["value", "null", "n"])


def print_run(run: RunDir, *, everything: bool = False, asked: bool = True) -> None:
    """The answer, then where it is; a run without an answer says how far it is.

    `asked` repeats the question below the verdict; a command that has just run the study has said it before.
    """
    status = run.status()
    results, launch = read_claims(run), run.read_asked()
    if isinstance(launch, Damaged):
        click.echo(launch.reason, err=True)
    if isinstance(results, Damaged):
        click.echo(f"'{run.results}' is damaged: {results.reason}.", err=True)
    elif results:
        if results.caution:
            click.echo(f"'{run.results}' was {results.caution}.", err=True)
        print_answer(results, str(_launch_of(run).get("purpose", "")) if asked else "")
        if everything:
            print_results(results)
        else:
            click.echo(_kept_back(results, run.id))
    click.echo(
        f"{status.study}  {run.id}  {status.shown_state}" + (f"  {status.message}" if status.message else "")
    )
    if not results and status.total:
        click.echo(f"{status.stage} {status.step}/{status.total}")
    click.echo(f"report  {run.report}" if run.report.exists() else f"folder  {run.path}")


def _kept_back(results: Results, run_id: str) -> str:
    """What the headline leaves out, and the command that shows it."""
    others = (
        len(results.claims)
        - len(results.measurements)
        - len([claim for claim in results.leading if not claim.is_measurement])
    )
    parts = ((others, "other claim"), (len(results.measurements), "measurement"))
    counted = [f"{n} {word}{'s' * (n > 1)}" for n, word in parts if n]
    return f"  {' and '.join(counted) or 'Everything'}: digsite show {run_id} --all"


def _launch_of(run: RunDir) -> dict[str, Any]:
    try:
        return run.plan()
    except DigsiteError:
        return {}

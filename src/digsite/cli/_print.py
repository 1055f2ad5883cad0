"""Tables and results on the terminal."""

from collections.abc import Sequence
from typing import Any

import click

from digsite.base import atomic
from digsite.record.layout import RunDir
from digsite.record.results import Claim, Results, read_results

NAME_WIDTH = (
    32  # of the first column is kept even where the terminal is narrow: names that break are hard to read
)


def print_json(value: Any) -> None:
    click.echo(atomic.dumps(value, indent=2))


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
        console = Console(width=200)
    console.print(table)


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.4g}"


def interval(claim: Claim) -> str:
    return "" if claim.low is None else f"{number(claim.low)} to {number(claim.high)}"


def print_results(results: Results, *, limit: int = 30) -> None:
    """The first claims, which rooms put in order of weight, and the verdict."""
    shown = results.claims[:limit] if limit else results.claims
    rows = [
        [c.name, f"{number(c.value)} {c.unit}".strip(), interval(c), c.n, number(c.null), c.note]
        for c in shown
    ]
    print_table(["claim", "value", "interval", "n", "null", "note"], rows, right=["value", "null", "n"])
    if len(shown) < len(results.claims):
        click.echo(f"{len(results.claims) - len(shown)} more claims: digsite show RUN --all")
    click.echo(results.verdict)


def print_run(run: RunDir, *, limit: int = 30) -> None:
    status = run.status()
    click.echo(
        f"{status.study}  {run.id}  {status.shown_state}" + (f"  {status.message}" if status.message else "")
    )
    if results := read_results(run.results):
        print_results(results, limit=limit)
    elif status.total:
        click.echo(f"{status.stage} {status.step}/{status.total}")
    click.echo(f"folder  {run.path}")
    if run.report.exists():
        click.echo(f"report  {run.report}")

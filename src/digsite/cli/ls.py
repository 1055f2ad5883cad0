"""digsite ls"""

import textwrap
import time
from dataclasses import replace

import click

from digsite.base.stored import Damaged
from digsite.cli._options import json_option, runs_option

MESSAGE = 300  # characters


@click.command("ls")
@click.argument("study", required=False)
@click.option(
    "--state",
    help="Only runs in this state: planned, running, finished, failed, interrupted, killed, damaged.",
)
@click.option("-n", "limit", default=30, show_default=True, help="At most this many; 0 for all.")
@runs_option
@json_option
def command(study, state, limit, root, as_json):
    """Runs, newest first."""
    from digsite.cli._print import print_json, print_table
    from digsite.record import list_statuses
    from digsite.record.shown import row_of_run

    found = [
        (r, s) for r, s in list_statuses(root) if study in (None, s.study) and state in (None, s.shown_state)
    ]
    shown = [(run, _judged(run, status)) for run, status in (found[:limit] if limit > 0 else found)]
    if as_json:
        return print_json([row_of_run(run, status) for run, status in shown])
    rows = [[r.id, s.study, s.shown_state, _progress(s), _ago(s.created), _answer(r, s)] for r, s in shown]
    print_table(
        ["run", "study", "state", "progress", "started", "answer"], rows, right=["progress", "started"]
    )
    if len(found) > len(shown):
        click.echo(f"{len(found) - len(shown)} more: digsite ls -n 0")
    if not found:
        click.echo(f"No runs in '{root}' yet. Start one: digsite run STUDY (digsite list shows the studies).")


def _judged(run, status):
    """A run whose launch file cannot be believed is damaged, whatever its status says."""
    asked = run.read_asked()
    return replace(status, state="damaged", message=asked.reason) if isinstance(asked, Damaged) else status


def _answer(run, status) -> str:
    """The first words of the verdict, or what happened instead."""
    from digsite.report.facts import results_of

    results = results_of(run) if status.state == "finished" else None
    return textwrap.shorten(results.verdict, 60, placeholder=" …") if results else status.message


def _progress(status) -> str:
    if status.state == "finished":
        return "100%"
    return f"{100 * status.step / status.total:.0f}%" if status.total else ""


def _ago(moment: float) -> str:
    seconds = max(0, time.time() - moment)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"

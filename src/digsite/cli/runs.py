"""Verbs over runs that are there: `ls`, `show`, `tag`, `note`, `report`, `publish`, `mirror`, `rm`, `restore`."""

import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from digsite.cli._options import complete_run, json_option, run_argument, runs_option

if TYPE_CHECKING:
    from digsite.record import RunDir

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
def ls_command(study, state, limit, root, as_json):
    """Runs, newest first."""
    from digsite.cli._print import print_json, print_table
    from digsite.record import list_statuses
    from digsite.record.shown import row_of_run

    listed = [
        (r, s) for r, s in list_statuses(root) if study in (None, s.study) and state in (None, s.shown_state)
    ]
    shown = [(run, _judge_launch(run, status)) for run, status in (listed[:limit] if limit > 0 else listed)]
    if as_json:
        return print_json([row_of_run(run, status) for run, status in shown])
    if not listed:
        asked = " ".join(word for word in (study, state) if word)
        return click.echo(
            f"No {asked} runs in '{root}'."
            if asked
            else f"No runs in '{root}' yet. Start one: digsite run STUDY (digsite list shows the studies)."
        )
    rows = [
        [r.id, s.study, s.shown_state, _percent_done(s), _time_ago(s.created), _short_answer(r, s)]
        for r, s in shown
    ]
    print_table(
        ["run", "study", "state", "progress", "started", "answer"], rows, right=["progress", "started"]
    )
    if len(listed) > len(shown):
        click.echo(f"{len(listed) - len(shown)} more: digsite ls -n 0")


def _judge_launch(run, status):
    """A run whose launch file cannot be believed is damaged, whatever its status says."""
    from digsite.base.stored import Damaged

    asked = run.read_asked()
    return replace(status, state="damaged", message=asked.reason) if isinstance(asked, Damaged) else status


def _short_answer(run, status) -> str:
    """The first words of the verdict, or what happened instead."""
    from digsite.report.facts import results_or_none

    results = results_or_none(run) if status.state == "finished" else None
    return textwrap.shorten(results.verdict, 60, placeholder=" …") if results else status.message


def _percent_done(status) -> str:
    if status.state == "finished":
        return "100%"
    return f"{100 * status.step / status.total:.0f}%" if status.total else ""


def _time_ago(moment: float) -> str:
    seconds = max(0, time.time() - moment)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now"


@click.command("show")
@run_argument
@click.option("--all", "everything", is_flag=True, help="Every claim and measurement, not only the headline.")
@runs_option
@json_option
def show_command(run, everything, root, as_json):
    """One run: its answer, the claims that it leads with beside their nulls, where its files are."""
    from digsite.cli._print import print_json, print_run
    from digsite.record import find_run
    from digsite.record.shown import in_full

    located = find_run(run, root)
    if as_json:
        return print_json(in_full(located))
    print_run(located, everything=everything)


@click.command("report")
@click.argument("runs", metavar="RUN|SWEEP...", nargs=-1, required=True, shell_complete=complete_run)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="The file to write.  [default: report.html of the run; for several: ./comparison.html]",
)
@runs_option
@json_option
def report_command(runs, out, root, as_json):
    """One self-contained HTML file about a run, about several beside each other, or about a sweep."""
    from digsite.cli._print import print_json
    from digsite.report import write_report

    chosen = [run for name in runs for run in _runs_named(name, root)]
    target = out or (chosen[0].report if len(chosen) == 1 else Path("comparison.html"))
    write_report(chosen, target)
    if as_json:
        return print_json({"report": str(target), "runs": [str(run.path) for run in chosen]})
    click.echo(target)


def _runs_named(name: str, root: Path) -> list["RunDir"]:
    """A run, or the members of a sweep of that very name."""
    from digsite.base.errors import UsageError
    from digsite.record import find_run
    from digsite.record.sweeps import sweeps_in

    for sweep in sweeps_in(root):
        if sweep.name == name:
            members = [member.run for member in sweep.members if member.run.launch.is_file()]
            if not members:
                raise UsageError(
                    f"The sweep '{name}' has no runs.", hint=f"Start it: digsite sweep retry {name}"
                )
            return members
    return [find_run(name, root)]


@click.command("publish")
@click.argument("runs", metavar="RUN|SWEEP...", nargs=-1, required=True, shell_complete=complete_run)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder."
)
@runs_option
@json_option
def publish_command(runs, out, root, as_json):
    """A static folder of pages for any web server: an index, a page per run, the records behind them."""
    from digsite.cli._print import print_json
    from digsite.report.publish import publish_runs

    chosen = [run for name in runs for run in _runs_named(name, root)]
    index = publish_runs(chosen, out)
    if as_json:
        return print_json({"index": str(index), "runs": [str(run.path) for run in chosen]})
    click.echo(index)


@click.command("mirror")
@run_argument
@click.option("--to", "kind", required=True, help="wandb, tensorboard or mlflow.")
@click.option("--project", default="digsite", show_default=True, help="Project or experiment of the tracker.")
@click.option("--live", is_flag=True, help="Go on until the run has ended.")
@runs_option
@json_option
def mirror_command(run, kind, project, live, root, as_json):
    """Copy a run to the tracker that your team watches."""
    from digsite.cli._print import print_json
    from digsite.mirrors import follow_run
    from digsite.record import find_run

    located = find_run(run, root)
    address = follow_run(located, kind, project=project, live=live)
    if as_json:
        return print_json({"run": str(located.path), "tracker": kind, "place": str(address)})
    click.echo(f"{located.id} -> {kind}: {address}")


@click.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@runs_option
@json_option
def rm_command(names, yes, root, as_json):
    """Move runs to the trash folder inside the runs folder."""
    from digsite.base.errors import LockHeld
    from digsite.cli._print import print_json
    from digsite.record import find_run
    from digsite.record.listing import move_to_trash
    from digsite.record.status import is_locked

    chosen = [find_run(name, root) for name in names]
    for run in chosen:
        if run.status().alive or is_locked(run.lock):
            raise LockHeld(
                f"Run '{run.id}' is still running (process {run.status().pid}).", hint="Stop it first."
            )
    if not yes:
        click.confirm(
            err=True, abort=True, text=f"Move {len(chosen)} run{'s' if len(chosen) > 1 else ''} to the trash?"
        )
    moved = {str(run.path): str(move_to_trash(run)) for run in chosen}
    if as_json:
        return print_json([{"run": run, "trash": trash} for run, trash in moved.items()])
    for run in chosen:
        click.echo(f"{run.id} -> {moved[str(run.path)]}")


@click.command("restore")
@click.argument("names", nargs=-1, metavar="RUN...")
@runs_option
@json_option
def restore_command(names, root, as_json):
    """Bring runs back from the trash; without a name, what is in it."""
    from digsite.cli._print import print_json
    from digsite.record.listing import list_trash, restore_run

    if as_json:
        shown = [restore_run(name, root) for name in names] if names else list_trash(root)
        return print_json([{"run": str(run.path), "back": bool(names)} for run in shown])
    if not names:
        thrown = list_trash(root)
        for run in thrown:
            click.echo(f"{run.path.parent.name}/{run.id}")
        if not thrown:
            click.echo(f"The trash of '{root}' is empty.")
    for name in names:
        run = restore_run(name, root)
        click.echo(f"{run.id} is back: {run.path}")


@click.command("tag")
@run_argument
@click.argument("tags", nargs=-1, metavar="[TAG|~TAG ...]")
@click.option("--star/--no-star", "star", default=None, help="Set or take the star.")
@runs_option
@json_option
def tag_command(run, tags, star, root, as_json):
    """Say words of a run after the fact, to find it by: TAG adds one, ~TAG takes it away; with none, show them."""
    from digsite.record.marks import change_marks, read_marks

    removed = [tag[1:] for tag in tags if tag.startswith("~")]
    added = [tag for tag in tags if not tag.startswith("~")]
    _print_marks(
        run,
        root,
        as_json,
        lambda marks: (
            change_marks(marks, add=added, remove=removed, star=star)
            if tags or star is not None
            else read_marks(marks)
        ),
    )


@click.command("note")
@run_argument
@click.argument("text", required=False)
@runs_option
@json_option
def note_command(run, text, root, as_json):
    """Write a note about a run, in place of the one it has; "" removes it, and without TEXT it is shown."""
    from digsite.record.marks import change_marks, read_marks

    _print_marks(
        run,
        root,
        as_json,
        lambda marks: read_marks(marks) if text is None else change_marks(marks, note=text),
    )


def _print_marks(name, root, as_json, change) -> None:
    from digsite.cli._print import print_json
    from digsite.record import find_run
    from digsite.record.marks import as_record

    run = find_run(name, root)
    marks = change(run)
    if as_json:
        return print_json({"run": str(run.path), **as_record(marks)})
    click.echo(f"{run.id}{'  starred' if marks.star else ''}  {', '.join(marks.tags) or 'no tags'}")
    if marks.note:
        click.echo(marks.note)

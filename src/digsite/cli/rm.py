"""digsite rm RUN"""

import click

from digsite.cli._options import complete_run, runs_option


@click.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@runs_option
def command(names, yes, root):
    """Move runs to the trash folder inside the runs folder."""
    from digsite.base.errors import LockHeld
    from digsite.record import find_run
    from digsite.record.listing import move_to_trash
    from digsite.record.status import is_locked

    found = [find_run(name, root) for name in names]
    for run in found:
        if run.status().alive or is_locked(run.lock):
            raise LockHeld(
                f"Run '{run.id}' is still running (process {run.status().pid}).", hint="Stop it first."
            )
    if not yes:
        click.confirm(f"Move {len(found)} run{'s' if len(found) > 1 else ''} to the trash?", abort=True)
    for run in found:
        click.echo(f"{run.id} -> {move_to_trash(run)}")

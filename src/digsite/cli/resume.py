"""digsite resume RUN"""

import sys

import click

from digsite.cli._options import device_option, run_argument, runs_option


@click.command("resume")
@run_argument
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]")
@runs_option
@device_option
@click.option("--checkpoint-every", default=60.0, show_default=True, help="Seconds between checkpoints.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
def command(run, overrides, root, device, checkpoint_every, quiet):
    """Continue a run from its last checkpoint; its config stays as pinned."""
    from digsite.cli._print import print_run
    from digsite.cli._start import execute_and_report, explain_end
    from digsite.record import find_run
    from digsite.studies.plan import refuse_changes

    found = find_run(run, root)
    refuse_changes(found, overrides)
    (code,) = execute_and_report([found], device=device, quiet=quiet, checkpoint_every_s=checkpoint_every)
    explain_end(found, code)
    print_run(found)
    sys.exit(code)

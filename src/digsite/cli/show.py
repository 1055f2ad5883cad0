"""digsite show RUN"""

import click

from digsite.cli._options import json_option, run_argument, runs_option


@click.command("show")
@run_argument
@click.option("--all", "everything", is_flag=True, help="Every claim and measurement, not only the headline.")
@runs_option
@json_option
def command(run, everything, root, as_json):
    """One run: its answer, the claims that it leads with beside their nulls, where its files are."""
    from digsite.cli._print import print_json, print_run
    from digsite.record import find_run
    from digsite.record.shown import in_full

    found = find_run(run, root)
    if as_json:
        return print_json(in_full(found))
    print_run(found, everything=everything)

"""digsite report RUN..."""

from pathlib import Path

import click

from digsite.cli._options import complete_run, json_option, runs_option


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_run)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="The file to write.  [default: report.html of the run; for several: ./comparison.html]")  # fmt: skip
@runs_option
@json_option
def command(runs, out, root, as_json):
    """One self-contained HTML file about a run, or about several beside each other."""
    from digsite.cli._print import print_json
    from digsite.report import write
    from digsite.runs import find_run

    found = [find_run(name, root) for name in runs]
    target = out or (found[0].report if len(found) == 1 else Path("comparison.html"))
    write(found, target)
    if as_json:
        return print_json({"report": str(target), "runs": [str(run.path) for run in found]})
    click.echo(target)

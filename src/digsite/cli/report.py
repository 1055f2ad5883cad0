"""digsite report RUN..."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from digsite.cli._options import complete_run, json_option, runs_option

if TYPE_CHECKING:
    from digsite.record import RunDir


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
def command(runs, out, root, as_json):
    """One self-contained HTML file about a run, about several beside each other, or about a sweep."""
    from digsite.cli._print import print_json
    from digsite.report import write

    found = [run for name in runs for run in _named(name, root)]
    target = out or (found[0].report if len(found) == 1 else Path("comparison.html"))
    write(found, target)
    if as_json:
        return print_json({"report": str(target), "runs": [str(run.path) for run in found]})
    click.echo(target)


def _named(name: str, root: Path) -> list["RunDir"]:
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

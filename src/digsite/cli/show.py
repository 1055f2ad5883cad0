"""digsite show RUN"""

import click

from digsite.cli._options import json_option, run_argument, runs_option


@click.command("show")
@run_argument
@runs_option
@json_option
def command(run, root, as_json):
    """One run: state, claims beside their nulls, verdict, files."""
    from dataclasses import asdict

    from digsite.base import atomic
    from digsite.cli._print import print_json, print_run
    from digsite.runs import find_run

    found = find_run(run, root)
    if not as_json:
        return print_run(found)
    files = sorted(
        str(p.relative_to(found.path)) for p in found.path.rglob("*") if p.is_file() and p.name[0] != "."
    )
    print_json(
        {
            "path": str(found.path),
            "launch": found.plan(),
            "status": {**asdict(found.status()), "state": found.status().shown_state},
            "results": atomic.read_json(found.results),
            "views": atomic.read_json(found.views, default=[]),
            "files": files,
        }
    )

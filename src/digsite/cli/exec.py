"""digsite exec RUN_DIR..."""

import sys
from pathlib import Path

import click

from digsite.cli._options import device_option


@click.command("exec", hidden=True)
@click.argument("paths", nargs=-1, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@device_option
def command(paths, device):
    """Execute planned run directories one after the other; with none given, read their paths from stdin.

    This is what launchers start. One warm process takes many runs, and answers `path exit_code` for each.
    """
    from digsite.cli._start import execute_and_report
    from digsite.runs import RunDir

    worst = 0
    for path in paths or (Path(line.strip()) for line in sys.stdin if line.strip()):
        code = _answer(lambda path=path: execute_and_report(RunDir(path), device=device, quiet=True))
        click.echo(f"{path} {code}")
        sys.stdout.flush()
        worst = max(worst, code)
        if code in (75, 130, 143):
            break
    sys.exit(worst)


def _answer(execute) -> int:
    from digsite.base.errors import DigsiteError

    try:
        return execute()
    except DigsiteError as error:
        click.echo(f"digsite: {error}", err=True)
        return error.exit_code

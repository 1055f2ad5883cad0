"""digsite exec RUN_DIR..."""

import sys
from pathlib import Path

import click

from digsite.cli._options import device_option, mirror_options


@click.command("exec", hidden=True)
@click.argument("paths", nargs=-1, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("--packed", is_flag=True, help="The run directories are one pack.")
@device_option
@mirror_options
def command(paths, packed, device, mirror, project):
    """Execute planned run directories one after the other; with none given, read them from stdin.

    This is what launchers start: one warm process takes many pieces of work, a line each, and answers
    `path exit_code` for each run. Several paths on one line, with tabs between, are one pack. Under torchrun several
    of these processes share the work of each run.
    """
    from digsite.cli._start import leads

    worst, answers = 0, sys.stdout
    sys.stdout = sys.stderr  # whatever a run prints, the launcher reads answers and nothing else
    given = [list(paths)] if packed else [[path] for path in paths]
    lines = given if paths else _lines()
    for pack in lines:
        codes = _execute(pack, device, mirror, project)
        for path, code in zip(pack, codes, strict=True) if leads() else ():
            answers.write(f"{path} {code}\n")
        answers.flush()
        worst = max([worst, *codes])
        if set(codes) & {75, 130, 143}:
            break
    sys.exit(worst)


def _lines():
    for line in sys.stdin:
        if line.strip():
            yield [Path(word) for word in line.rstrip("\n").split("\t")]


def _execute(pack, device, mirror, project) -> list[int]:
    from digsite.base.errors import DigsiteError
    from digsite.cli._start import execute_and_report, leads, mirroring
    from digsite.record import RunDir

    runs = [RunDir(path) for path in pack]
    try:
        with mirroring(runs, mirror if leads() else "", project):
            return execute_and_report(runs, device=device, quiet=True)
    except DigsiteError as error:
        click.echo(f"digsite: {error}", err=True)
        return [error.exit_code] * len(pack)

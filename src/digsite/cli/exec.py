"""digsite exec RUN_DIR..."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from digsite.cli._options import device_option, mirror_options


@click.command("exec", hidden=True)
@click.argument("paths", nargs=-1, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("--packed", is_flag=True, help="The run directories are one pack.")
@click.option("--with-parent", is_flag=True, help="Checkpoint and leave when the launcher dies.")
@device_option
@mirror_options
def command(paths, packed, with_parent, device, mirror, project):
    """Execute planned run directories one after the other; with none given, read them from stdin.

    This is what launchers start: one warm process takes many pieces of work, a line each, and answers
    `path exit_code` for each run. Several paths on one line, with tabs between, are one pack. Under torchrun several
    of these processes share the work of each run.
    """
    from digsite.base import lineage
    from digsite.cli._start import leads

    if with_parent:
        lineage.follow_parent(signal.SIGTERM)
    worst = 0
    given = [list(paths)] if packed else [[path] for path in paths]
    lines = given if paths else _lines()
    with _own_channel() as answers:
        for pack in lines:
            codes = _execute(pack, device, mirror, project)
            for path, code in zip(pack, codes, strict=True) if leads() else ():
                answers.write(f"{path} {code}\n")
            answers.flush()
            worst = max([worst, *codes])
            if set(codes) & {75, 130, 143}:
                break
    sys.exit(worst)


@contextmanager
def _own_channel() -> Iterator[IO[str]]:
    """The launcher's pipe under a descriptor of its own: what a run or its libraries write to 1 goes to stderr."""
    before = sys.stdout
    before.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape") as answers:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        try:
            yield answers
        finally:
            sys.stdout = before
            answers.flush()
            os.dup2(answers.fileno(), 1)


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

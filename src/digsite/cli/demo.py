"""digsite demo"""

import sys
import time

import click

from digsite.cli._options import device_option, runs_option

ROOMS = ("read", "prune", "decompose", "track", "graft")


@click.command("demo")
@runs_option
@device_option
def command(root, device):
    """All five rooms in small on bundled data; ends with a report to open."""
    from digsite.cli._print import print_run
    from digsite.cli._start import execute_and_report, explain_end
    from digsite.report import write
    from digsite.studies import all_studies
    from digsite.studies.plan import plan, start

    chosen = [s for s in all_studies().values() if s.demo is not None and s.room in ROOMS]
    chosen.sort(key=lambda study: ROOMS.index(study.room))
    finished, worst = [], 0
    for number, study in enumerate(chosen, 1):
        click.secho(f"\n{number}/{len(chosen)}  {study.room}: {study.purpose}", bold=True)
        began = time.monotonic()
        run = start(plan(study, size="demo"), root)
        (code,) = execute_and_report([run], device=device, quiet=not sys.stderr.isatty())
        explain_end(run, code)
        print_run(run)
        click.echo(f"took {time.monotonic() - began:.0f} s")
        worst = max(worst, code)
        if code in (75, 130, 143):
            sys.exit(code)
        if code == 0:
            finished.append(run)
    out = root / "demo.html"
    write(finished, out)
    click.secho(f"\nThe report of all of it: {out}", bold=True)
    click.echo("Every run, live in a browser: digsite serve")
    sys.exit(worst)

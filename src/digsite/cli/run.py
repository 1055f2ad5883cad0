"""digsite run STUDY"""

import sys
from pathlib import Path

import click

from digsite.cli._options import (
    complete_study,
    device_option,
    json_option,
    mirror_options,
    runs_option,
    size_options,
    studies_option,
)


@click.command("run")
@click.argument("studies", metavar="STUDY[,STUDY...]", required=False, shell_complete=complete_study)
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]")
@click.option("--all", "room", metavar="ROOM", help="Every study of this room.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of config values.")
@size_options
@runs_option
@studies_option
@device_option
@mirror_options
@click.option(
    "--deterministic", is_flag=True, help="Only deterministic algorithms, where the device has them."
)
@click.option(
    "--checkpoint-every",
    "checkpoint_every_s",
    default=60.0,
    show_default=True,
    help="Seconds between checkpoints.",
)
@click.option("--tag", "tags", multiple=True, help="A word to find the run by; may be given several times.")
@click.option("--dry-run", is_flag=True, help="Show what would run; write nothing.")
@click.option(
    "--check", is_flag=True, help="Compare the results with the study's expected.json; exit 4 on a miss."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@json_option
def command(
    studies,
    overrides,
    room,
    config_file,
    size,
    root,
    extra,
    mirror,
    project,
    tags,
    dry_run,
    check,
    as_json,
    **how,
):
    """Run studies; config values are set as key.path=value."""
    from digsite.base.errors import ExpectationFailed
    from digsite.cli._print import print_json, print_run
    from digsite.cli._start import check_expected, execute_and_report, explain_end, mirroring
    from digsite.mirrors import refuse_unknown
    from digsite.studies import find_study
    from digsite.studies.plan import plan, start

    if room and studies:
        studies, overrides = None, (studies, *overrides)
    chosen = [find_study(name, extra) for name in _names(studies, room, extra)]
    plans = [plan(s, size=size or "full", config_file=config_file, overrides=overrides) for s in chosen]
    if dry_run:
        return _show(plans, root, how["device"], as_json)
    if mirror:
        refuse_unknown(mirror)
    worst, shown = 0, []
    for planned in plans:
        run = start(planned, root, tags=tags)
        with mirroring([run], mirror, project):
            (code,) = execute_and_report([run], **how)
        if not as_json:
            explain_end(run, code)
            print_run(run)
        shown.append({"run": str(run.path), "exit_code": code, **_results(run)})
        if code == 0 and check and (missed := check_expected(planned.study, run)):
            click.echo("\n".join(missed), err=True)
            code = ExpectationFailed.exit_code
        worst = max(worst, code)
        if code in (75, 130, 143):
            break
    if as_json:
        print_json(shown if len(shown) > 1 else shown[0])
    sys.exit(worst)


def _names(studies: str | None, room: str | None, extra) -> list[str]:
    from digsite.base.errors import UsageError, name_nearest
    from digsite.studies import all_studies

    if not room:
        if not studies:
            raise UsageError("No study was named.", hint="List them: digsite list")
        return studies.split(",")
    known = all_studies(extra)
    names = [s.name for s in known.values() if s.room == room]
    if not names:
        raise UsageError(f"There is no room '{room}'. {name_nearest(room, {s.room for s in known.values()})}")
    return names


def _results(run) -> dict:
    from digsite.base import atomic

    return atomic.read_json(run.results, default={})


def _show(plans, root, device, as_json) -> None:
    from digsite.cli._print import print_json
    from digsite.config import yamlio

    if as_json:
        return print_json([{**p.launch(), "minutes": p.study.minutes, "runs": str(root)} for p in plans])
    for planned in plans:
        click.echo(f"# {planned.study.name}: {planned.study.purpose}")
        click.echo(
            f"# into {root / planned.study.name}/, device {device}, about {planned.study.minutes:g} min in full"
        )
        click.echo(yamlio.dump_yaml(planned.tree))

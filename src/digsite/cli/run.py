"""`digsite run STUDY`, `resume RUN`, and `exec`, which launchers call: whatever executes runs."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from digsite.cli._options import (
    complete_setting,
    complete_study,
    device_option,
    json_option,
    mirror_options,
    report_option,
    run_argument,
    runs_option,
    size_options,
    studies_option,
)


@click.command("run")
@click.argument("studies", metavar="STUDY[,STUDY...]", required=False, shell_complete=complete_study)
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]", shell_complete=complete_setting)
@click.option("--all", "room", metavar="ROOM", help="Every study of this room.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of config values.")
@size_options
@runs_option
@studies_option
@device_option
@mirror_options
@report_option
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
def run_command(
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
    with_report,
    as_json,
    **how,
):
    """Run studies; config values are set as key.path=value."""
    from digsite.cli._print import print_json
    from digsite.cli._start import is_writer, report_together
    from digsite.mirrors import refuse_tracker
    from digsite.studies import find_study
    from digsite.studies.plan import plan_run

    if room and studies:
        studies, overrides = None, (studies, *overrides)
    chosen = [find_study(name, extra) for name in _study_names(studies, room, extra)]
    is_told = not (how["quiet"] or dry_run or as_json) and is_writer()
    for study in chosen if is_told else ():  # before anything is planned, which may import PyTorch
        click.secho(f"{study.name}: {study.purpose}", err=True, bold=True)
    plans = [plan_run(s, size=size or "full", config_file=config_file, overrides=overrides) for s in chosen]
    if dry_run:
        return _show_plans(plans, root, how["device"], as_json)
    if mirror:
        refuse_tracker(mirror)
    worst, shown, finished = 0, [], []
    for planned in plans:
        run, code, left = _run_one(planned, root, tags, mirror, project, check, as_json, how)
        finished += [run] if code == 0 else []
        shown.append({"run": str(run.path), "exit_code": code, **_read_results(run)})
        worst = max(worst, left)
        if code in (75, 130, 143):
            break
    if with_report and len(finished) > 1:
        out = root / f"together-{finished[0].id}.html"
        report_together(finished, out, " and ".join(study.name for study in chosen), mirror, project)
    if as_json:
        print_json(shown if len(shown) > 1 else shown[0])
    sys.exit(worst)


def _run_one(planned, root, tags, mirror, project, check, as_json, how):
    """One study, printed; its run, the run's exit code, and the code that is left with: a miss of `--check` is its own."""
    from digsite.base.errors import ExpectationFailed
    from digsite.cli._print import print_run
    from digsite.cli._start import check_expected, execute_and_report, explain_end, mirror_beside
    from digsite.studies.plan import start_run

    run = start_run(planned, root, tags=tags)
    with mirror_beside([run], mirror, project):
        (code,) = execute_and_report([run], is_told=not as_json, **how)
    if not as_json:
        explain_end(run, code)
        print_run(run, asked=bool(how.get("quiet")))
    if code == 0 and check and (missed := check_expected(planned.study, run)):
        click.echo("\n".join(missed), err=True)
        return run, code, ExpectationFailed.exit_code
    return run, code, code


def _study_names(studies: str | None, room: str | None, extra) -> list[str]:
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


def _read_results(run) -> dict:
    from digsite.base import atomic

    return atomic.read_json(run.results, default={})


def _show_plans(plans, root, device, as_json) -> None:
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


@click.command("resume")
@run_argument
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]")
@runs_option
@device_option
@click.option("--checkpoint-every", default=60.0, show_default=True, help="Seconds between checkpoints.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@json_option
def resume_command(run, overrides, root, device, checkpoint_every, quiet, as_json):
    """Continue a run from its last checkpoint; its config stays as pinned."""
    from digsite.cli._print import print_json, print_run
    from digsite.cli._start import execute_and_report, explain_end
    from digsite.record import find_run
    from digsite.studies.plan import refuse_changes

    located = find_run(run, root)
    refuse_changes(located, overrides)
    (code,) = execute_and_report([located], device=device, quiet=quiet, checkpoint_every_s=checkpoint_every)
    if as_json:
        print_json({"run": str(located.path), "exit_code": code, **_read_results(located)})
        sys.exit(code)
    explain_end(located, code)
    print_run(located)
    sys.exit(code)


@click.command("exec", hidden=True)
@click.argument("paths", nargs=-1, metavar="RUN_DIR...", type=click.Path(path_type=Path))
@click.option("--packed", is_flag=True, help="The run directories are one pack.")
@click.option("--with-parent", is_flag=True, help="Checkpoint and leave when the launcher dies.")
@device_option
@mirror_options
def exec_command(paths, packed, with_parent, device, mirror, project):
    """Execute planned run directories one after the other; with none given, read them from stdin.

    This is what launchers start: one warm process takes many pieces of work, a line each, and answers
    `path exit_code` for each run. Several paths on one line, with tabs between, are one pack. Under torchrun several
    of these processes share the work of each run.
    """
    from digsite.base import lineage
    from digsite.cli._start import is_writer

    if with_parent:
        lineage.follow_parent(signal.SIGTERM)
    worst = 0
    given = [list(paths)] if packed else [[path] for path in paths]
    lines = given if paths else _read_lines()
    with _own_channel() as answers:
        for pack in lines:
            codes = _execute_pack(pack, device, mirror, project)
            for path, code in zip(pack, codes, strict=True) if is_writer() else ():
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


def _read_lines():
    for line in sys.stdin:
        if line.strip():
            yield [Path(word) for word in line.rstrip("\n").split("\t")]


def _execute_pack(pack, device, mirror, project) -> list[int]:
    from digsite.base.errors import DigsiteError
    from digsite.cli._start import execute_and_report, is_writer, mirror_beside
    from digsite.record import RunDir

    runs = [RunDir(path) for path in pack]
    try:
        with mirror_beside(runs, mirror if is_writer() else "", project):
            return execute_and_report(runs, device=device, quiet=True)
    except DigsiteError as error:
        click.echo(f"digsite: {error}", err=True)
        return [error.exit_code] * len(pack)

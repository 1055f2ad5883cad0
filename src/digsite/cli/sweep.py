"""`digsite sweep STUDY key=v1,v2`: many runs, planned before the first starts; and the search that asks for settings."""

import sys
from pathlib import Path

import click

from digsite.cli._options import (
    complete_launcher,
    complete_setting,
    device_option,
    json_option,
    mirror_options,
    report_option,
    runs_option,
    size_options,
    studies_option,
)


class _Sweep(click.Group):
    """`digsite sweep status NAME` is a verb; `digsite sweep tms_5-2 seed=0..4` starts a sweep."""

    def resolve_command(self, ctx, args):
        if args and args[0] not in self.commands:
            args = ["start", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx, args):
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


fresh_code_option = click.option(
    "--fresh-code",
    is_flag=True,
    help="Go on with today's code, not with the copy that travels with the sweep.",
)


on_option = click.option(
    "--on",
    default="local:1",
    show_default=True,
    help="local:N, ray, slurm or torchrun:N.",
    shell_complete=complete_launcher,
)


@click.group("sweep", cls=_Sweep)
def sweep_command():
    """Many runs of one or several studies: STUDY key=v1,v2 seed=0..4.

    Every run directory is planned before anything starts. Calling the same sweep again continues it.
    """


@sweep_command.command("start")
@click.argument(
    "words", nargs=-1, metavar="[STUDY[,STUDY...]] [key=v1,v2 ...]", shell_complete=complete_setting
)
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value="default",
    help="YAML: global and per-study values; without a name the shipped one. With studies, only these of it.",
)
@click.option("--name", help="Name of the sweep; default: the hash of its runs.")
@on_option
@click.option(
    "--samples", default=1, show_default=True, help="Draws per grid point, for log(a,b) and uniform(a,b)."
)
@click.option("--sample-seed", default=0, show_default=True, help="Seed of the draws.")
@click.option(
    "--minimize", metavar="CLAIM", help="Search adaptively for settings that make this claim least."
)
@click.option("--maximize", metavar="CLAIM", help="The same for greatest; --samples says how many are tried.")
@click.option("--max-parallel", default=0, help="At most this many runs at once.")
@click.option("--fail-fast", is_flag=True, help="Stop scheduling after the first failure.")
@click.option("--partition", default="", help="slurm: partition.")
@click.option(
    "--time-limit", "time_limit_min", default=0, help="slurm: minutes per task; runs go on in a new one."
)
@click.option("--cpus", default=1, help="Threads per run, and CPUs per task on slurm and ray.")
@click.option("--gpus", default=0, help="slurm and ray: GPUs per task.")
@click.option("--job-suffix", default="", help="slurm: added to the job's name.")
@click.option("--wait/--no-wait", default=True, help="slurm: wait for the runs, or leave after submitting.")
@click.option(
    "--chunk", default=0, help="Runs per job on ray and slurm; default: decided from their minutes."
)
@fresh_code_option
@click.option("--plan-only", is_flag=True, help="Write the run directories and stop.")
@report_option
@click.option("--dry-run", is_flag=True, help="Show the table, the count and an estimate; write nothing.")
@size_options
@runs_option
@studies_option
@device_option
@mirror_options
@json_option
def start_sweep(words, file, name, samples, sample_seed, minimize, maximize, size, root, extra, **rest):
    """Plan and run a sweep."""
    from digsite import launch, mirrors
    from digsite.studies import sweep as planner

    launch.refuse_launcher(rest["on"])
    if rest["mirror"]:
        mirrors.refuse_tracker(rest["mirror"])
    spaces = _read_spaces(words, file, samples, sample_seed, extra)
    if minimize or maximize:
        goal = one_goal(minimize, maximize, trials=samples, seed=sample_seed)
        return search_settings(spaces, goal, size or "full", root, name, extra, **rest)
    jobs = planner.plan_jobs(spaces, size=size or "full", extra=extra)
    if rest["dry_run"]:
        return _preview_jobs(jobs, rest["on"], rest["as_json"])
    _launch_sweep(planner.write_sweep(jobs, root, name=name), **rest)


def _launch_sweep(sweep, *, on, fresh_code, plan_only, with_report, as_json, dry_run, **how) -> None:
    from digsite.launch import Options, launch_sweep

    pin_code(sweep, fresh_code)
    code = 0 if plan_only else launch_sweep(sweep, on, Options(**how))
    if with_report:
        _report_finished(sweep, how["mirror"], how["project"])
    _print_status(sweep, as_json)
    sys.exit(code)


def _report_finished(sweep, mirror="", project="") -> None:
    """One report about all runs that have finished so far; calling the sweep again writes it again."""
    from digsite.cli._start import report_together

    finished = [m.run for m in sweep.members if m.status().state == "finished"]
    if len(finished) > 1:
        report_together(finished, sweep.folder / "report.html", f"sweep {sweep.name}", mirror, project)


def _read_spaces(words, file, samples, seed, extra):
    from digsite.base.errors import UsageError
    from digsite.studies import all_studies
    from digsite.studies import sweep as planner

    if file:
        named, values = ([], words) if not words or "=" in words[0] else (words[0].split(","), words[1:])
        known = list(all_studies(extra))
        return planner.spaces_from_file(planner.find_sweep_file(file), known, named=named, words=values)
    if not words or "=" in words[0]:
        raise UsageError("No study was named.", hint="Write: digsite sweep STUDY key=v1,v2")
    return planner.spaces_from_words(words[0].split(","), words[1:], samples=samples, seed=seed)


def _preview_jobs(jobs, on, as_json) -> None:
    from digsite.cli._print import print_json, print_table

    minutes = sum(job.planned.study.minutes for job in jobs)
    rows = [[job.planned.study.name, job.run_id, *job.point.values()] for job in jobs]
    if as_json:
        return print_json([{"study": j.planned.study.name, "run": j.run_id, "point": j.point} for j in jobs])
    print_table(["study", "run", *dict.fromkeys(key for job in jobs for key in job.point)], rows[:50])
    if len(rows) > 50:
        click.echo(f"... and {len(rows) - 50} more")
    click.echo(
        f"{len(rows)} runs on {on}, about {minutes:g} minutes of one worker in full size; nothing was written."
    )


@sweep_command.command("status")
@click.argument("name", default="last")
@runs_option
@json_option
def sweep_status(name, root, as_json):
    """States of a sweep's runs, read from their directories."""
    from digsite.record.sweeps import find_sweep

    _print_status(find_sweep(name, root), as_json)


@sweep_command.command("retry")
@click.argument("name", default="last")
@on_option
@click.option("--failed", is_flag=True, help="Only failed and killed runs.")
@fresh_code_option
@runs_option
@device_option
@json_option
def retry_sweep(name, on, failed, fresh_code, root, device, as_json):
    """Run again what did not finish."""
    from digsite.launch import Options, launch_sweep, refuse_launcher
    from digsite.record.sweeps import find_sweep

    refuse_launcher(on)
    sweep = find_sweep(name, root)
    pin_code(sweep, fresh_code)
    code = launch_sweep(sweep, on, Options(device=device, only_failed=failed))
    _report_finished(sweep)
    _print_status(sweep, as_json)
    sys.exit(code)


@sweep_command.command("report")
@click.argument("name", default="last")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it; default: beside the plan.")
@click.option(
    "--to", "tracker", default="", metavar="wandb", help="A W&B report of the mirrored runs instead of HTML."
)
@click.option("--project", default="digsite", show_default=True, help="Project name at the tracker.")
@click.option("--entity", default="", help="W&B user or team; without it the report becomes a file.")
@runs_option
@json_option
def report_sweep(name, out, tracker, project, entity, root, as_json):
    """One HTML file about all finished runs of a sweep."""
    from digsite.base.errors import NotFound
    from digsite.cli._print import print_json
    from digsite.mirrors.wandb_report import publish_report, refuse_other
    from digsite.record.sweeps import find_sweep
    from digsite.report import write_report

    sweep = find_sweep(name, root)
    finished = [m.run for m in sweep.members if m.status().state == "finished"]
    if not finished:
        raise NotFound(
            f"No run of sweep '{sweep.name}' has finished yet.", hint=f"digsite sweep status {sweep.name}"
        )
    if tracker:
        refuse_other(tracker)
        stored = out or sweep.folder / "wandb-report.json"
        said = publish_report(finished, stored, title=f"sweep {sweep.name}", project=project, entity=entity)
        return print_json({"sweep": sweep.name, "report": said}) if as_json else click.echo(said)
    out = out or sweep.folder / "report.html"
    write_report(finished, out)
    return print_json({"sweep": sweep.name, "report": str(out)}) if as_json else click.echo(out)


def _print_status(sweep, as_json) -> None:
    from digsite.cli._print import format_number, print_json, print_table
    from digsite.report.facts import results_or_none

    rows = []
    for member in sweep.members:
        results = results_or_none(member.run)
        rows.append(
            (
                member,
                member.status(),
                next(iter(results.leading or results.claims), None) if results else None,
            )
        )
    if as_json:
        runs = [{"run": str(m.run.path), "point": m.point, "state": s.shown_state} for m, s, _ in rows]
        return print_json({"sweep": sweep.name, "counts": dict(sweep.counts()), "runs": runs})
    varied = sweep.varied_paths()
    shown = [
        [
            m.study,
            m.run.id,
            *[m.point.get(p) for p in varied],
            s.shown_state,
            f"{c.name} {format_number(c.value)}" if c else s.message,
        ]
        for m, s, c in rows
    ]
    print_table(["study", "run", *varied, "state", "result"], shown[:100])
    counts = ", ".join(f"{n} {state}" for state, n in sweep.counts().most_common())
    click.echo(f"sweep {sweep.name}: {counts}")


# The part of `digsite sweep` that asks for settings instead of listing them, and the code that any sweep carries.


def one_goal(minimize, maximize, *, trials, seed):
    from digsite.base.errors import UsageError
    from digsite.studies.search import Goal

    if minimize and maximize:
        raise UsageError("A search has one goal: give --minimize or --maximize, not both.")
    return Goal(minimize or maximize, "minimize" if minimize else "maximize", trials, seed=seed)


def pin_code(sweep, fresh: bool) -> None:
    from digsite.studies import sweep as planner

    if not planner.pin_code(sweep, renew=fresh):
        click.echo(
            "digsite: the code has changed; the sweep goes on with its own copy, or with --fresh-code",
            err=True,
        )


def search_settings(
    spaces, goal, size, root, name, extra, *, on, fresh_code, plan_only, with_report, as_json, dry_run, **how
) -> None:
    from digsite.base.errors import UsageError
    from digsite.launch import Options, launch_sweep
    from digsite.studies import find_study
    from digsite.studies.search import Search

    if len(spaces) != 1 or plan_only or dry_run:
        raise UsageError("A search is of one study, and what it will try is not known before it runs.")
    ((study, space),) = spaces.items()

    def execute_sweep(sweep) -> int:
        pin_code(sweep, fresh_code)
        return launch_sweep(sweep, on, Options(**how))

    asking = Search(find_study(study, extra), space, goal, size=size)
    code, trials = asking.run(root, execute_sweep, name)
    print_trials(trials, goal, as_json)
    sys.exit(code)


def print_trials(trials, goal, as_json) -> None:
    from digsite.cli._print import format_number, print_json, print_table

    sign = 1 if goal.direction == "minimize" else -1
    best = sorted(trials, key=lambda t: (t.value is None, sign * (t.value or 0)))
    if as_json:
        return print_json(
            [{"point": t.point, "value": t.value, "runs": [j.run_id for j in t.jobs]} for t in best]
        )
    rows = [
        [*t.point.values(), len(t.jobs), format_number(t.value) if t.value is not None else "failed"]
        for t in best[:20]
    ]
    print_table([*(best[0].point if best else []), "runs", goal.claim], rows)
    click.echo(
        f"{len(best)} settings tried; the best of many looks better than it is: repeat it with fresh seeds."
    )

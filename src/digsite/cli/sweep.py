"""digsite sweep STUDY key=v1,v2"""

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


@click.group("sweep", cls=_Sweep)
def command():
    """Many runs of one or several studies: STUDY key=v1,v2 seed=0..4.

    Every run directory is planned before anything starts. Calling the same sweep again continues it.
    """


@command.command("start")
@click.argument(
    "words", nargs=-1, metavar="[STUDY[,STUDY...]] [key=v1,v2 ...]", shell_complete=complete_study
)
@click.option("--file", "file", type=click.Path(path_type=Path), help="YAML: global and per-study values.")
@click.option("--name", help="Name of the sweep; default: the hash of its runs.")
@click.option("--on", default="local:1", show_default=True, help="local:N, ray, slurm or torchrun:N.")
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
@click.option("--dry-run", is_flag=True, help="Show the table, the count and an estimate; write nothing.")
@size_options
@runs_option
@studies_option
@device_option
@mirror_options
@json_option
def start(words, file, name, samples, sample_seed, minimize, maximize, size, root, extra, **rest):
    """Plan and run a sweep."""
    from digsite import launch, mirrors
    from digsite.cli._search import one_goal, search
    from digsite.studies import sweep as planner

    launch.refuse_unknown(rest["on"])
    if rest["mirror"]:
        mirrors.refuse_unknown(rest["mirror"])
    spaces = _spaces(words, file, samples, sample_seed, extra)
    if minimize or maximize:
        goal = one_goal(minimize, maximize, trials=samples, seed=sample_seed)
        return search(spaces, goal, size or "full", root, name, extra, **rest)
    found = planner.jobs(spaces, size=size or "full", extra=extra)
    if rest["dry_run"]:
        return _preview(found, rest["on"], rest["as_json"])
    _launched(planner.write(found, root, name=name), **rest)


def _launched(sweep, *, on, fresh_code, plan_only, as_json, dry_run, **how) -> None:
    from digsite.cli._search import pin_code
    from digsite.launch import Options, launch

    pin_code(sweep, fresh_code)
    code = 0 if plan_only else launch(sweep, on, Options(**how))
    _print_status(sweep, as_json)
    sys.exit(code)


def _spaces(words, file, samples, seed, extra):
    from digsite.base.errors import UsageError
    from digsite.studies import all_studies
    from digsite.studies import sweep as planner

    if file:
        if words:
            raise UsageError("Give either --file or studies and values, not both.")
        return planner.spaces_from_file(file, list(all_studies(extra)))
    if not words or "=" in words[0]:
        raise UsageError("No study was named.", hint="Write: digsite sweep STUDY key=v1,v2")
    return planner.spaces_from_words(words[0].split(","), words[1:], samples=samples, seed=seed)


def _preview(found, on, as_json) -> None:
    from digsite.cli._print import print_json, print_table

    minutes = sum(job.planned.study.minutes for job in found)
    rows = [[job.planned.study.name, job.run_id, *job.point.values()] for job in found]
    if as_json:
        return print_json([{"study": j.planned.study.name, "run": j.run_id, "point": j.point} for j in found])
    print_table(["study", "run", *dict.fromkeys(key for job in found for key in job.point)], rows[:50])
    if len(rows) > 50:
        click.echo(f"... and {len(rows) - 50} more")
    click.echo(
        f"{len(rows)} runs on {on}, about {minutes:g} minutes of one worker in full size; nothing was written."
    )


@command.command("status")
@click.argument("name", default="last")
@runs_option
@json_option
def status(name, root, as_json):
    """States of a sweep's runs, read from their directories."""
    from digsite.record.sweeps import find_sweep

    _print_status(find_sweep(name, root), as_json)


@command.command("retry")
@click.argument("name", default="last")
@click.option("--on", default="local:1", show_default=True, help="local:N, ray, slurm or torchrun:N.")
@click.option("--failed", is_flag=True, help="Only failed and killed runs.")
@fresh_code_option
@runs_option
@device_option
@json_option
def retry(name, on, failed, fresh_code, root, device, as_json):
    """Run again what did not finish."""
    from digsite.cli._search import pin_code
    from digsite.launch import Options, launch, refuse_unknown
    from digsite.record.sweeps import find_sweep

    refuse_unknown(on)
    sweep = find_sweep(name, root)
    pin_code(sweep, fresh_code)
    code = launch(sweep, on, Options(device=device, only_failed=failed))
    _print_status(sweep, as_json)
    sys.exit(code)


@command.command("report")
@click.argument("name", default="last")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it; default: beside the plan.")
@click.option(
    "--to", "kind", default="", metavar="wandb", help="A W&B report of the mirrored runs instead of HTML."
)
@click.option("--project", default="digsite", show_default=True, help="Project name at the tracker.")
@click.option("--entity", default="", help="W&B user or team; without it the report becomes a file.")
@runs_option
def report(name, out, kind, project, entity, root):
    """One HTML file about all finished runs of a sweep."""
    from digsite.base.errors import NotFound
    from digsite.mirrors.wandb_report import publish, refuse_other
    from digsite.record.sweeps import find_sweep
    from digsite.report import write

    sweep = find_sweep(name, root)
    finished = [m.run for m in sweep.members if m.status().state == "finished"]
    if not finished:
        raise NotFound(
            f"No run of sweep '{sweep.name}' has finished yet.", hint=f"digsite sweep status {sweep.name}"
        )
    if kind:
        refuse_other(kind)
        stored = out or sweep.folder / "wandb-report.json"
        return click.echo(
            publish(finished, stored, title=f"sweep {sweep.name}", project=project, entity=entity)
        )
    out = out or sweep.folder / "report.html"
    write(finished, out)
    click.echo(out)


def _print_status(sweep, as_json) -> None:
    from digsite.cli._print import number, print_json, print_table
    from digsite.report.facts import results_of

    rows = []
    for member in sweep.members:
        results = results_of(member.run)
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
            f"{c.name} {number(c.value)}" if c else s.message,
        ]
        for m, s, c in rows
    ]
    print_table(["study", "run", *varied, "state", "result"], shown[:100])
    counts = ", ".join(f"{n} {state}" for state, n in sweep.counts().most_common())
    click.echo(f"sweep {sweep.name}: {counts}")

"""The part of `digsite sweep` that asks for settings instead of listing them, and the code that any sweep carries."""

import sys

import click


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


def search(
    spaces, goal, size, root, name, extra, *, on, fresh_code, plan_only, as_json, dry_run, **how
) -> None:
    from digsite.base.errors import UsageError
    from digsite.launch import Options, launch
    from digsite.studies import find_study
    from digsite.studies.search import Search

    if len(spaces) != 1 or plan_only or dry_run:
        raise UsageError("A search is of one study, and what it will try is not known before it runs.")
    ((study, space),) = spaces.items()

    def execute(sweep) -> int:
        pin_code(sweep, fresh_code)
        return launch(sweep, on, Options(**how))

    asking = Search(find_study(study, extra), space, goal, size=size)
    code, trials = asking.run(root, execute, name)
    print_trials(trials, goal, as_json)
    sys.exit(code)


def print_trials(trials, goal, as_json) -> None:
    from digsite.cli._print import number, print_json, print_table

    sign = 1 if goal.direction == "minimize" else -1
    best = sorted(trials, key=lambda t: (t.value is None, sign * (t.value or 0)))
    if as_json:
        return print_json(
            [{"point": t.point, "value": t.value, "runs": [j.run_id for j in t.jobs]} for t in best]
        )
    rows = [
        [*t.point.values(), len(t.jobs), number(t.value) if t.value is not None else "failed"]
        for t in best[:20]
    ]
    print_table([*(best[0].point if best else []), "runs", goal.claim], rows)
    click.echo(
        f"{len(best)} settings tried; the best of many looks better than it is: repeat it with fresh seeds."
    )

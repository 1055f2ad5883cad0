"""Verbs that tell what could be run: `list`, `info`, `config`, `describe`, and `demo`, which runs a little of each room."""

import ast
import re
import sys
import time
from importlib import import_module
from itertools import groupby
from pathlib import Path

import click

from digsite.base import families
from digsite.cli._options import (
    complete_setting,
    complete_study,
    device_option,
    json_option,
    runs_option,
    size_options,
    studies_option,
)


@click.command("list")
@click.argument("room", required=False)
@studies_option
@json_option
def list_command(room, extra, as_json):
    """Studies, by the question of their room: name, minutes, question."""
    from digsite.base.errors import NotFound, name_nearest
    from digsite.cli._print import print_json, print_table
    from digsite.studies import all_studies
    from digsite.studies.find import damaged_studies

    chosen = sorted(
        (s for s in all_studies(extra).values() if room in (None, s.room)), key=lambda s: (s.room, s.name)
    )
    if room and not chosen:
        raise NotFound(
            f"There is no room '{room}'. {name_nearest(room, {s.room for s in all_studies(extra).values()})}"
        )
    if as_json:
        return print_json(
            [{"study": s.name, "room": s.room, "minutes": s.minutes, "purpose": s.purpose} for s in chosen]
        )
    for name, studies in groupby(chosen, key=lambda s: s.room):
        click.secho(f"\n{name}: {_ask_of(name)}".rstrip(": "), bold=True)
        rows = [[s.name, f"{s.minutes:g}", s.purpose + _say_needs(s)] for s in studies]
        print_table(["study", "minutes", "question"], rows, right=["minutes"])
    click.echo("Run one: digsite run STUDY [--quick]")
    for name, error in damaged_studies(extra).items():
        click.echo(f"Damaged study '{name}': {error.message}", err=True)


def _ask_of(room: str) -> str:
    """What all studies of a room ask: the first line of the room's own text; nothing for a package of somebody else."""
    try:
        text = families.find_folder(f"digsite.{room}").joinpath("__init__.py").read_text(errors="replace")
    except (OSError, ImportError):
        return ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def _say_needs(study) -> str:
    return f" (needs {', '.join(study.needs)} in DIGSITE_DATA)" if study.needs else ""


@click.command("info")
@click.argument("study", shell_complete=complete_study)
@studies_option
@json_option
def info_command(study, extra, as_json):
    """One study: its question, what is written about it, and every setting with type, default, range and text."""
    from digsite.cli._print import print_json, print_table
    from digsite.studies import find_study
    from digsite.studies.settings import describe_study

    facts = describe_study(find_study(study, extra))
    if as_json:
        return print_json(facts)
    click.secho(facts["question"], bold=True)
    click.echo(
        f"room {facts['room']}, about {facts['minutes']:g} minutes; sizes: {', '.join(facts['sizes'])}"
    )
    if facts["stands_on"]:
        click.echo(f"The full size: {facts['stands_on']}")
    if facts["readme"]:
        click.echo(f"\n{facts['readme'].rstrip()}\n")
    rows = [[s["key"], s["type"], s["value"], s["range"], s["text"]] for s in facts["settings"]]
    print_table(["setting", "type", "here", "range", "what it is"], rows)
    click.echo(f"Run it: {facts['command']}")


@click.group("config")
def config_command():
    """What a study would run with, and what could be set."""


@config_command.command("show")
@click.argument("study", shell_complete=complete_study)
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]", shell_complete=complete_setting)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of config values.")
@size_options
@studies_option
@json_option
def show_config(study, overrides, config_file, size, extra, as_json):
    """The resolved config, with the origin of each value."""
    from digsite.cli._print import print_json, print_table
    from digsite.config.overrides import leaf_paths
    from digsite.studies import find_study
    from digsite.studies.plan import plan_run

    planned = plan_run(
        find_study(study, extra), size=size or "full", config_file=config_file, overrides=overrides
    )
    leaves = leaf_paths(planned.tree)
    if as_json:
        origins = {path: planned.layers.find_origin(path) for path in leaves}
        return print_json({"study": study, "config": planned.tree, "origins": origins})
    print_table(["key", "value", "from"], [[p, v, planned.layers.find_origin(p)] for p, v in leaves.items()])


@config_command.command("schema")
@click.argument("study", shell_complete=complete_study)
@studies_option
def show_schema(study, extra):
    """JSON schema of the study's config: every key with its type, range and description."""
    from digsite.cli._print import print_json
    from digsite.studies import find_study
    from digsite.worker.methods import config_class

    print_json(config_class(find_study(study, extra).method).model_json_schema())


def complete_family(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in (*find_families(), *LISTS) if name.startswith(incomplete)]


@click.command("describe")
@click.argument("family", required=False, shell_complete=complete_family)
@json_option
def describe_command(family, as_json):
    """Members of a family: losses, scores, measures, readers, methods, architectures and so on.

    Without a name, the families.
    """
    from digsite.base import families
    from digsite.base.errors import NotFound, name_nearest
    from digsite.cli._print import print_json, print_table

    known = find_families()
    if family is None:
        rows = [[name, what, len(families.list_members(package))] for name, (package, what) in known.items()]
        rows += [[name, what, len(list_described(name))] for name, (_, what) in LISTS.items()]
        return (
            print_json(rows)
            if as_json
            else print_table(["family", "what it is", "members"], rows, right=["members"])
        )
    if family not in {*known, *LISTS}:
        raise NotFound(f"There is no family '{family}'. {name_nearest(family, [*known, *LISTS])}")
    if family in LISTS:
        members = list_described(family)
    else:
        scanned = families.scan_family(known[family][0])
        members = {name: families.read_purpose(module) for name, module in scanned.items()}
    if as_json:
        return print_json(members)
    print_table(["member", "what it does"], list(members.items()))


# Names that are lists in a module instead of members of a family: a function gives name -> what it is.
LISTS = {
    "networks": ("digsite.graft.config:describe_networks", "networks that a graft study can pair"),
    "shapes": ("digsite.track.config:describe_shapes", "architectures of the tracking grid"),
}


def list_described(name: str) -> dict[str, str]:
    """The names of one of `LISTS`, each with what it is."""
    module, _, function = LISTS[name][0].partition(":")
    return getattr(import_module(module), function)()


# A family whose folder has another name than people would look for; every other one is called as its folder.
RENAMED = {"digsite.data.sets": "datasets"}


def find_families() -> dict[str, tuple[str, str]]:
    """Family -> its package and what it is, read from the text of the packages: nothing is imported for it.

    A family is a package whose `__init__.py` says what a `Member` has. Of two of one name the second is `room.name`.
    """
    home, members = families.find_folder("digsite"), {}
    for path in sorted(home.rglob("__init__.py")):
        text = path.read_text(errors="replace")
        package = ".".join(("digsite", *path.parent.relative_to(home).parts))
        if re.search(r"^(class Member\b|Member = )", text, re.M):
            name = RENAMED.get(package, path.parent.name)
            name = f"{package.split('.')[1]}.{name}" if name in members else name
            members[name] = (package, (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0])
    return members


@click.command("demo")
@runs_option
@device_option
def demo_command(root, device):
    """All five rooms in small on bundled data, then a dig into one small model; ends with a report to open."""
    from digsite.cli._print import print_run
    from digsite.cli._start import execute_and_report, explain_end
    from digsite.report import write_report
    from digsite.studies import all_studies
    from digsite.studies.plan import plan_run, start_run

    chosen = [s for s in all_studies().values() if s.demo is not None]
    # The quickest first: a first answer comes soon. What needs several rooms comes last: a dig into one small model.
    chosen.sort(key=lambda study: (study.room == "joint", study.minutes))
    finished, worst = [], 0
    for number, study in enumerate(chosen, 1):
        click.secho(f"\n{number}/{len(chosen)}  {study.room}: {study.purpose}", bold=True)
        began = time.monotonic()
        run = start_run(plan_run(study, size="demo"), root)
        (code,) = execute_and_report([run], device=device, quiet=not sys.stderr.isatty())
        explain_end(run, code)
        print_run(run, asked=False)
        click.echo(f"took {time.monotonic() - began:.0f} s")
        worst = max(worst, code)
        if code in (75, 130, 143):
            sys.exit(code)
        if code == 0:
            finished.append(run)
    out = root / "demo.html"
    write_report(finished, out)
    click.secho(f"\nThe report of all of it: {out}", bold=True)
    click.echo("Every run, live in a browser: digsite serve")
    sys.exit(worst)

"""digsite zoo make|ls|show|export"""

from pathlib import Path

import click

from digsite.cli._options import device_option, json_option, runs_option, size_options, studies_option


@click.group("zoo")
def zoo_command():
    """Collections of trained networks: make, list, look into, export."""


@zoo_command.command("make")
@click.argument("name", metavar="STUDY|COLLECTION")
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]")
@click.option(
    "--from", "folder", type=click.Path(path_type=Path), help="The folder of a collection that others made."
)
@size_options
@runs_option
@studies_option
@device_option
@json_option
def make_zoo(name, overrides, folder, size, root, extra, device, as_json):
    """Run a study that makes a zoo, or take in a collection that others made.

    Collections: group_zoo, modular_addition, small_cnn_zoo and wild_park (as published), checkpoint_tree (a folder of state dicts).
    """
    from digsite.base import families
    from digsite.cli._print import print_json
    from digsite.cli.run import run_command

    if name in families.list_members("digsite.zoo.importers"):
        from digsite.zoo.importers import import_zoo

        out = None if folder is None else Path(root) / "zoos" / f"{name}-{folder.name}"
        said = import_zoo(name, folder, out)
        return print_json({"zoo": name, "said": str(said)}) if as_json else click.echo(said)
    given = {
        "studies": name,
        "overrides": overrides,
        "size": size,
        "root": root,
        "extra": extra,
        "device": device,
        "as_json": as_json,
    }
    return click.get_current_context().invoke(run_command, **given)


@zoo_command.command("ls")
@json_option
def list_zoos(as_json):
    """All zoos on this machine: name, members, architectures, checkpoints, folder."""
    from digsite.base.errors import DigsiteError
    from digsite.cli._print import print_json, print_table
    from digsite.zoo.store import all_zoos, read_index

    rows = []
    for name, folder in all_zoos().items():
        try:
            index = read_index(folder)
        except DigsiteError as error:  # one damaged zoo costs its own row
            click.echo(f"digsite: {error.message}", err=True)
            rows.append([name, None, None, "damaged", str(folder)])
            continue
        rows.append([name, index.n, len(index.architectures), " ".join(map(str, index.steps)), str(folder)])
    columns = ["zoo", "members", "architectures", "checkpoints", "folder"]
    if as_json:
        return print_json([dict(zip(columns, row, strict=True)) for row in rows])
    if not rows:
        return click.echo("No zoos on this machine yet. Make one: digsite zoo make mlp-digits")
    return print_table(columns, rows, right=["members", "architectures"])


@zoo_command.command("show")
@click.argument("name", metavar="ZOO[#MEMBER]")
@json_option
def show_zoo(name, as_json):
    """What is in a zoo, or one member's recipe and labels."""
    from digsite.cli._print import print_json, print_table
    from digsite.zoo.source import describe_member, describe_zoo

    zoo, _, member = name.partition("#")
    facts = describe_member(zoo, member) if member else describe_zoo(zoo)
    if as_json:
        return print_json(facts)
    return print_table(["", ""], list(facts.items()))


@zoo_command.command("export")
@click.argument("name", metavar="ZOO[#MEMBER[@STEP]]")
@click.argument("out", type=click.Path(path_type=Path))
@json_option
def export_from_zoo(name, out, as_json):
    """One member as a safetensors file, or a whole zoo as one npz of rows with its table beside it."""
    from digsite.cli._print import print_json
    from digsite.zoo.source import export_member, export_zoo

    zoo, _, member = name.partition("#")
    said = export_member(zoo, member, out) if member else export_zoo(zoo, out)
    return print_json({"zoo": name, "file": str(said)}) if as_json else click.echo(said)

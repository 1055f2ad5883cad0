"""digsite describe FAMILY"""

import click

from digsite.cli._options import json_option


@click.command("describe")
@click.argument("family", required=False)
@json_option
def command(family, as_json):
    """Members of a family: losses, scores, measures, readers, methods, architectures ...

    Without a name, the families.
    """
    from digsite.base import families
    from digsite.base.errors import NotFound, name_nearest
    from digsite.cli._families import FAMILIES, present
    from digsite.cli._print import print_json, print_table

    known = present()
    if family is None:
        rows = [
            [name, FAMILIES[name][1], len(families.list_members(package))] for name, package in known.items()
        ]
        return (
            print_json(rows)
            if as_json
            else print_table(["family", "what it is", "members"], rows, right=["members"])
        )
    if family not in known:
        raise NotFound(f"There is no family '{family}'. {name_nearest(family, known)}")
    members = {
        name: families.read_purpose(module) for name, module in families.scan_family(known[family]).items()
    }
    if as_json:
        return print_json(members)
    print_table(["member", "what it does"], list(members.items()))

"""digsite list"""

import click

from digsite.cli._options import json_option, studies_option


@click.command("list")
@click.argument("room", required=False)
@studies_option
@json_option
def command(room, extra, as_json):
    """Studies: room, purpose, minutes."""
    from digsite.cli._print import print_json, print_table
    from digsite.studies import all_studies
    from digsite.studies.find import damaged_studies

    chosen = sorted(
        (s for s in all_studies(extra).values() if room in (None, s.room)), key=lambda s: (s.room, s.name)
    )
    if as_json:
        return print_json(
            [{"study": s.name, "room": s.room, "minutes": s.minutes, "purpose": s.purpose} for s in chosen]
        )
    print_table(
        ["room", "study", "minutes", "question"],
        [[s.room, s.name, f"{s.minutes:g}", s.purpose + _needs(s)] for s in chosen],
        right=["minutes"],
    )
    click.echo("Run one: digsite run STUDY [--quick]")
    for name, error in damaged_studies(extra).items():
        click.echo(f"Damaged study '{name}': {error.message}", err=True)


def _needs(study) -> str:
    return f" (needs {', '.join(study.needs)} in DIGSITE_DATA)" if study.needs else ""

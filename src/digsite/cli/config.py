"""digsite config show|schema STUDY"""

from pathlib import Path

import click

from digsite.cli._options import complete_study, json_option, size_options, studies_option


@click.group("config")
def command():
    """What a study would run with, and what could be set."""


@command.command("show")
@click.argument("study", shell_complete=complete_study)
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of config values.")
@size_options
@studies_option
@json_option
def show(study, overrides, config_file, size, extra, as_json):
    """The resolved config, with the origin of each value."""
    from digsite.cli._print import print_json, print_table
    from digsite.config.overrides import leaf_paths
    from digsite.studies import find_study
    from digsite.studies.plan import plan

    planned = plan(
        find_study(study, extra), size=size or "full", config_file=config_file, overrides=overrides
    )
    leaves = leaf_paths(planned.tree)
    if as_json:
        origins = {path: planned.layers.find_origin(path) for path in leaves}
        return print_json({"study": study, "config": planned.tree, "origins": origins})
    print_table(["key", "value", "from"], [[p, v, planned.layers.find_origin(p)] for p, v in leaves.items()])


@command.command("schema")
@click.argument("study", shell_complete=complete_study)
@studies_option
def schema(study, extra):
    """JSON schema of the study's config: every key with its type, range and description."""
    from digsite.cli._print import print_json
    from digsite.studies import find_study
    from digsite.worker.methods import config_class

    print_json(config_class(find_study(study, extra).method).model_json_schema())

"""digsite mirror RUN"""

import click

from digsite.cli._options import run_argument, runs_option


@click.command("mirror")
@run_argument
@click.option("--to", "kind", required=True, help="wandb, tensorboard or mlflow.")
@click.option("--project", default="digsite", show_default=True, help="Project or experiment of the tracker.")
@click.option("--live", is_flag=True, help="Go on until the run has ended.")
@runs_option
def command(run, kind, project, live, root):
    """Copy a run to the tracker that your team watches."""
    from digsite.mirrors import follow
    from digsite.record import find_run

    found = find_run(run, root)
    follow(found, kind, project=project, live=live)
    click.echo(f"{found.id} -> {kind}")

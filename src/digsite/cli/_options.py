"""Options and arguments that several verbs share."""

from pathlib import Path
from typing import Any

import click

from digsite.base import settings


def runs_option(function: Any) -> Any:
    return click.option(
        "--runs",
        "root",
        type=click.Path(path_type=Path, file_okay=False),
        default=settings.runs_dir,
        show_default="DIGSITE_HOME or ./runs",
        help="Folder that holds the runs.",
    )(function)


def studies_option(function: Any) -> Any:
    return click.option(
        "--studies",
        "extra",
        multiple=True,
        type=click.Path(path_type=Path, file_okay=False),
        help="Another folder of studies; may be given several times.",
    )(function)


def json_option(function: Any) -> Any:
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, everything else on stderr."
    )(function)


def complete_study(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from digsite.studies import all_studies

    return [name for name in all_studies() if name.startswith(incomplete)]


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from digsite.record import runs_in

    return [run.id for run in runs_in(settings.runs_dir()) if run.id.startswith(incomplete)]


def run_argument(function: Any) -> Any:
    return click.argument("run", metavar="RUN", shell_complete=complete_run)(function)


def size_options(function: Any) -> Any:
    function = click.option(
        "--smoke", "size", flag_value="smoke", help="The smallest version: seconds, to see it work."
    )(function)
    return click.option(
        "--quick", "size", flag_value="quick", help="A smaller version: a real answer in a few minutes."
    )(function)


def report_option(function: Any) -> Any:
    return click.option(
        "--report/--no-report",
        "with_report",
        default=True,
        show_default=True,
        help="Several runs get one report about all of them; with --mirror wandb also as a W&B report.",
    )(function)


def device_option(function: Any) -> Any:
    return click.option(
        "--device",
        default=settings.default_device,
        show_default="DIGSITE_DEVICE or auto",
        help="cpu, cuda, cuda:N or auto.",
    )(function)


def mirror_options(function: Any) -> Any:
    function = click.option(
        "--project", default="digsite", show_default=True, help="Project name at the tracker."
    )(function)
    return click.option(
        "--mirror",
        default="",
        metavar="NAME",
        help="Copy live to wandb, tensorboard or mlflow; off by default.",
    )(function)

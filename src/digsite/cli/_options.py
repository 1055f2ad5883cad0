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


def complete_setting(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Settings of the study that was named, as `key=`; behind the sign its values, where it has only a few."""
    words = ctx.params.get("words") or ()
    named = ctx.params.get("study") or ctx.params.get("studies") or (words[0] if words else None)
    if not named:
        return complete_study(ctx, param, incomplete)
    settings_ = _settings_of(str(named).split(",")[0])
    key, equals, value = incomplete.partition("=")
    if equals:
        return [f"{key}={choice}" for choice in _choices_of(settings_, key) if choice.startswith(value)]
    return [
        f"{path}=" for path in settings_ if path.startswith(key) or path.rpartition(".")[2].startswith(key)
    ]


def _settings_of(study: str) -> dict[str, dict[str, Any]]:
    from digsite.base.errors import DigsiteError
    from digsite.studies import find_study
    from digsite.studies.settings import describe_study

    try:
        return {s["key"]: s for s in describe_study(find_study(study, ()))["settings"]}
    except DigsiteError:  # a shell asks while somebody types: no study of that name yet
        return {}


def _choices_of(known: dict[str, dict[str, Any]], key: str) -> list[str]:
    for path, setting in known.items():
        if path == key or path.endswith(f".{key}"):
            if setting["type"] == "boolean" or isinstance(setting["value"], bool):
                return ["true", "false"]
            words = setting["range"].rpartition("; ")[2]
            return words.split(", ") if words and not words.startswith((">", "<")) else []
    return []


def complete_launcher(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from digsite.base import families

    names = families.list_members("digsite.launch.launchers")
    counted = {"local": "local:2", "torchrun": "torchrun:2"}
    return [word for name in names if (word := counted.get(name, name)).startswith(incomplete)]


def complete_member(package: str) -> Any:
    """A completion of the names of one family, such as methods of grafting; nothing is imported for it."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        from digsite.base import families

        return [name for name in families.list_members(package) if name.startswith(incomplete)]

    return complete


def find_named_model(ctx: click.Context, param: click.Parameter, reference: str | None) -> str | None:
    """A trained model of the data folder by its bare name (`stories260K`); anything else as it was given."""
    if not reference or "/" in reference or ":" in reference or Path(reference).exists():
        return reference
    from digsite.data.fetch import find_file

    return str(find_file(f"lm/{reference}", "model.safetensors") or reference)


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """References of models: schemes, the zoos of this machine behind `zoo:`, runs behind `run:`, files otherwise."""
    from click.shell_completion import CompletionItem

    if incomplete.startswith("zoo:"):
        from digsite.zoo.store import all_zoos

        return [f"zoo:{name}#" for name in all_zoos() if f"zoo:{name}".startswith(incomplete)]
    if incomplete.startswith("run:"):
        return [f"run:{name}" for name in complete_run(ctx, param, incomplete[4:])]
    schemes = [
        scheme for scheme in ("zoo:", "run:", "hub:", "py:") if incomplete and scheme.startswith(incomplete)
    ]
    return schemes or [CompletionItem(incomplete, type="file")]


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

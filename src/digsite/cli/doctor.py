"""`digsite doctor` and `completion`: what this machine and this shell offer."""

import click
from click.shell_completion import get_completion_class

from digsite.cli._options import json_option, runs_option

EXTRAS = {
    "hub": ("transformers", "datasets", "huggingface_hub"),
    "wandb": ("wandb",),
    "tensorboard": ("tensorboardX",),
    "mlflow": ("mlflow",),
    "ray": ("ray",),
    "search": ("optuna",),
    "fast": ("numba", "faiss"),
    "lightning": ("lightning",),
}
SCHEDULERS = ("sbatch", "squeue", "sacct", "ray", "torchrun")


@click.command("doctor")
@runs_option
@json_option
def doctor_command(root, as_json):
    """Versions, devices, extras, schedulers, and whether runs can be written."""
    from digsite.cli._print import print_json, print_table

    facts = {
        **_find_versions(),
        **_find_devices(),
        **_find_extras(),
        **_find_schedulers(),
        **_find_folders(root),
    }
    if as_json:
        return print_json(facts)
    print_table(["what", "found"], list(facts.items()))


def _find_versions() -> dict[str, str]:
    import platform

    from digsite.record.provenance import PACKAGES, package_version

    return {
        "python": platform.python_version(),
        **{name: package_version(name) or "missing" for name in PACKAGES},
    }


def _find_devices() -> dict[str, str]:
    import os
    import shutil

    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    return {
        "processors": str(os.cpu_count()),
        "GPUs": ", ".join(gpus) or "none",
        "C++ compiler": compiler or "none (compiled fast paths fall back to eager ones)",
    }


def _find_extras() -> dict[str, str]:
    from importlib.util import find_spec

    missing = {extra: [m for m in modules if not find_spec(m)] for extra, modules in EXTRAS.items()}
    return {
        f"extra '{extra}'": "installed"
        if not gone
        else f"missing {', '.join(gone)}: pip install 'digsite[{extra}]'"
        for extra, gone in missing.items()
    }


def _find_schedulers() -> dict[str, str]:
    import shutil

    return {name: shutil.which(name) or "not found" for name in SCHEDULERS}


def _find_folders(root) -> dict[str, str]:
    from digsite.base import settings
    from digsite.base.errors import DigsiteError
    from digsite.base.settings import cache_dir

    try:
        writable = _write_test(root)
    except (DigsiteError, OSError) as error:
        writable = f"cannot write: {error}"
    return {
        "runs folder": f"{root} ({writable})",
        "data folder": str(settings.data_dir() or "not set (DIGSITE_DATA)"),
        "cache folder": str(cache_dir()),
        "offline": "yes (DIGSITE_OFFLINE)" if settings.is_offline() else "no",
    }


def _write_test(root) -> str:
    """Tries in the nearest folder that exists, so that asking creates nothing."""
    import tempfile

    folder = root
    while not folder.exists():
        folder = folder.absolute().parent
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"digsite")
    return "writable"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell):
    """Print the completion script: eval "$(digsite completion bash)"."""
    from digsite.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "digsite", "_DIGSITE_COMPLETE").source())
